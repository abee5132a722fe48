"""What the checks share: each function raises `AssertionError` with a message for the reader."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

NOTHING = "the result is None: the function returns nothing; is there a return statement?"


def seeded(seed: int) -> torch.Generator:
    """Make a generator with this seed."""
    return torch.Generator().manual_seed(seed)


def expect_tensor(value: object, shape: tuple[int, ...], dtype: torch.dtype, name: str = "the result") -> None:
    """Fail unless `value` is a tensor of this shape and dtype."""
    assert value is not None, NOTHING
    assert isinstance(value, Tensor), f"{name} is a {type(value).__name__}, it should be a tensor"
    assert value.shape == shape, f"{name} has shape {tuple(value.shape)}, it should be {tuple(shape)}"
    assert value.dtype == dtype, f"{name} has dtype {value.dtype}, it should be {dtype}"


@contextmanager
def untouched(**inputs: Tensor) -> Iterator[None]:
    """Fail if the block changes one of the named tensors."""
    before = {name: tensor.clone() for name, tensor in inputs.items()}
    yield
    for name, tensor in inputs.items():
        assert torch.equal(tensor, before[name]), f"{name} was changed in place: the caller still needs it, use a copy"


def expect_seeded(draw: Callable[[torch.Generator], Tensor]) -> None:
    """Fail unless all chance in `draw` comes from the generator it is given."""
    state = torch.get_rng_state()
    first, again, other = draw(seeded(1)), draw(seeded(1)), draw(seeded(2))
    assert torch.equal(torch.get_rng_state(), state), (
        "the global generator was used: pass generator=generator to the function that draws"
    )
    assert torch.equal(first, again), "one generator seed gave two results: something draws without the generator"
    assert not torch.equal(first, other), "two generator seeds gave the same result: the generator is not used"


def show(values: Tensor) -> str:
    """Write numbers with two decimals, so that a message is the same on every machine."""
    return "[" + ", ".join(f"{v:.2f}" for v in values.tolist()) + "]"


def expect_values(value: Tensor, expected: Tensor, mistakes: dict[str, Tensor]) -> None:
    """Fail unless `value` is close to `expected`; the message is that of the mistake whose result it equals."""
    for message, wrong in mistakes.items():
        assert not torch.allclose(value, wrong.to(value), rtol=1e-4, atol=1e-6), message
    assert torch.allclose(value, expected.to(value), rtol=1e-4, atol=1e-6), (
        f"the values are {show(value.flatten()[:6])}, they should be {show(expected.flatten()[:6])} (the first ones)"
    )
