"""What the checks share: each function raises `AssertionError` with a message for the reader.

`Cases` draws random inputs that are special in nothing: the same on every machine, of several shapes, with zero, one
and many of what is counted. A check compares every answer on them with a reference of its own, by `expect_same`: what
is wrong only for inputs that nobody thought of is wrong, too.

A check never uses `assert`, which `python -O` leaves out: every wrong answer would pass. Numbers that come out of a
rounded function (a sum, a root, a quotient) are never compared exactly: another processor adds in another order.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

NOTHING = "the result is None: the function returns nothing; is there a return statement?"


def require(condition: object, message: str) -> None:
    """Fail with this message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def seeded(seed: int) -> torch.Generator:
    """Make a generator with this seed."""
    return torch.Generator().manual_seed(seed)


def expect_tensor(value: object, shape: tuple[int, ...], dtype: torch.dtype, name: str = "the result") -> None:
    """Fail unless `value` is a tensor of this shape and dtype."""
    require(value is not None, NOTHING)
    require(isinstance(value, Tensor), f"{name} is a {type(value).__name__}, it should be a tensor")
    require(value.shape == shape, f"{name} has shape {tuple(value.shape)}, it should be {tuple(shape)}")
    require(value.dtype == dtype, f"{name} has dtype {value.dtype}, it should be {dtype}")


@contextmanager
def untouched(**inputs: Tensor) -> Iterator[None]:
    """Fail if the block changes one of the named tensors."""
    before = {name: tensor.clone() for name, tensor in inputs.items()}
    yield
    for name, tensor in inputs.items():
        require(
            torch.equal(tensor, before[name]), f"{name} was changed in place: the caller still needs it, use a copy"
        )


def expect_seeded(draw: Callable[[torch.Generator], Tensor]) -> None:
    """Fail unless all chance in `draw` comes from the generator it is given."""
    state = torch.get_rng_state()
    first, again, other = draw(seeded(1)), draw(seeded(1)), draw(seeded(2))
    require(
        torch.equal(torch.get_rng_state(), state),
        "the global generator was used: pass generator=generator to the function that draws",
    )
    require(torch.equal(first, again), "one generator seed gave two results: something draws without the generator")
    require(not torch.equal(first, other), "two generator seeds gave the same result: the generator is not used")


SHIFT: ContextVar[int] = ContextVar("SHIFT", default=0)  # of all seeds of `Cases`: a hidden test draws other inputs


class Cases:
    """Random inputs of a check from one seed; each method draws anew, in the order of the calls."""

    def __init__(self, seed: int):
        self.generator = seeded(seed + 1000 * SHIFT.get())

    def int(self, low: int, high: int) -> int:
        """Draw a whole number, `low` to `high`, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def ids(self, high: int, *shape: int) -> Tensor:
        """Draw whole numbers below `high`, int64."""
        return torch.randint(0, high, shape, generator=self.generator)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Draw normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=dtype)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
        """Draw numbers between `low` and `high`."""
        return low + (high - low) * torch.rand(shape, generator=self.generator, dtype=dtype)

    def bools(self, *shape: int, share: float = 0.5) -> Tensor:
        """Draw True with the probability `share`; 0 and 1 are none and all."""
        return torch.rand(shape, generator=self.generator) < share

    def distribution(self, size: int) -> Tensor:
        """Draw probabilities, (size,) float64, none of them 0."""
        p = self.uniform(size, low=0.05, dtype=torch.float64)
        return p / p.sum()

    def order(self, size: int, count: int) -> Tensor:
        """Draw `count` different numbers below `size`, in any order."""
        return torch.randperm(size, generator=self.generator)[:count]


def expect_same(got: Tensor, right: Tensor, case: str, tol: float = 1e-5) -> None:
    """Fail unless an answer on a random case equals the reference: floats up to `tol`, everything else exactly."""
    expect_tensor(got, right.shape, right.dtype)
    same = close(got.detach(), right, tol) if right.is_floating_point() else torch.equal(got, right)
    if not same:
        differs = (~torch.isclose(got.detach().double(), right.double(), rtol=tol, atol=tol)).nonzero()
        at = tuple(differs[0].tolist())
        values = [f"{float(tensor.detach()[at]):.3g}" for tensor in (got, right)]
        raise AssertionError(
            f"random inputs, {case}: at {list(at)} the result is {values[0]}, it should be {values[1]}"
        )


def close(value: Tensor | list | float, expected: Tensor | list | float, tol: float = 1e-6) -> bool:
    """Say whether all numbers agree but for rounding: up to `tol`, relative or absolute; NaN equals nothing.

    >>> close(torch.tensor([2.0]).sqrt(), [1.4142136]), close(4097.0**2 - 1, 4097.0**2, tol=1e-9)
    (True, False)
    """
    a, b = (torch.as_tensor(numbers, dtype=torch.float64) for numbers in (value, expected))
    return a.shape == b.shape and torch.allclose(a, b, rtol=tol, atol=tol)


def show(values: Tensor) -> str:
    """Write numbers with two decimals, so that a message is the same on every machine."""
    return "[" + ", ".join(f"{v:.2f}" for v in values.tolist()) + "]"


def expect_values(value: Tensor, expected: Tensor, mistakes: dict[str, Tensor]) -> None:
    """Fail unless `value` is close to `expected`; the message is that of the mistake whose result it equals."""
    for message, wrong in mistakes.items():
        require(not torch.allclose(value, wrong.to(value), rtol=1e-4, atol=1e-6), message)
    require(
        torch.allclose(value, expected.to(value), rtol=1e-4, atol=1e-6),
        f"the values are {show(value.flatten()[:6])}, they should be {show(expected.flatten()[:6])} (the first ones)",
    )
