"""Exercise 6.3. Masks that are free, cheap and too large; formats that are smaller before anything is removed."""

from collections.abc import Callable
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise


def check_break_even(fn: Callable) -> None:
    """Judge an answer to 6.3."""
    got = _run(fn, 8, 4)
    require(not close(got, 0.5), "the mask takes a bit of every weight: without it 8 bits break even earlier")
    require(not close(got, 0.375), "that is the share that *stays*; sparsity is the share that was removed")
    require(not close(got, 62.5), "sparsity is a share between 0 and 1, not a percentage")
    require(
        not close(got, 1 - 4 / 9),
        "the mask has a bit for every weight, not only for those that are kept: it is not multiplied by 1 - s",
    )
    require(close(got, 0.625), f"(1 - s) 8 + 1 = 4 has the solution 0.625, got {got:.4g}")
    require(close(_run(fn, 8, 4, mask=0.0), 0.5), "the mask is an argument: without one, 8 bits meet 4 at 0.5")
    require(
        close(_run(fn, 4, 8), 0.0),
        "4 bits and a mask are fewer than 8 before anything is removed: the sparsity is 0, never below",
    )
    draw = Cases(63)
    for _ in range(100):
        bits, mask = draw.int(1, 32) / 2, draw.int(0, 8) / 4
        against = mask + draw.int(1, 80) / 4
        right = min(1.0, max(0.0, (bits + mask - against) / bits))
        got = _run(fn, bits, against, mask=mask)
        require(
            close(got, right),
            f"{bits:g} bits with a mask of {mask:g} against {against:g}: {right:.4f}, got {got:.4f}",
        )
    for against in (1.0, 0.5):
        try:
            fn(8, against)
        except ValueError:
            continue
        raise AssertionError(
            f"the mask alone takes as much as {against:g} bits a weight: no sparsity pays, that is a ValueError"
        )


def _run(fn: Callable, bits: float, against: float, **options: float) -> float:
    got = fn(bits, against, **options)
    require(got is not None, NOTHING)
    require(isinstance(got, Real), f"the result is a {type(got).__name__}, it should be a number")
    return float(got)


EXERCISE = Exercise(
    id="6.3",
    title="Break-even sparsity",
    minutes=10,
    difficulty=2,
    objective="Say from arithmetic alone whether pruning can pay beside fewer bits.",
    path="dlmlab.orders.break_even",
    stub='''\
def break_even(bits: float, against: float, *, mask: float = 1.0) -> float:
    """Give the sparsity at which codes of `bits` and their mask take as many bits a weight as `against`.

    At sparsity s, s of the weights are removed; the others keep their codes, and `mask` bits of every weight, kept or
    not, say which. 0 where the pruned matrix is the smaller one before anything is removed. Raises ValueError where the
    mask alone takes as much as `against`: no sparsity pays.
    """
    raise NotImplementedError
''',
    hints=(
        "Write down the bits a weight of the pruned matrix as a sum of two terms. Which of them shrinks with s?",
        "Set that sum equal to the other format and solve for the sparsity. A negative solution means that the pruned "
        "format was smaller all along.",
        "(1 - s) * bits + mask = against, so s = 1 - (against - mask) / bits, and at least 0",
    ),
    check=check_break_even,
)
