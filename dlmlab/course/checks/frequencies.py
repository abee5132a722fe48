"""Exercise 15.1. Tables with sure symbols, tiny ones, equal ones, forbidden ones; totals near the number of symbols."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_frequencies(fn: Callable) -> None:
    """Judge an answer to 15.1."""

    def run(p: Tensor, bits: int, allowed: Tensor) -> Tensor:
        with untouched(p=p, allowed=allowed):
            f = fn(p, bits, allowed)
        expect_tensor(f, p.shape, torch.int64)
        return f

    yes = torch.ones(5, dtype=torch.bool)
    p = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0], dtype=torch.float64)
    f = run(p, 8, yes)
    require(f[-1] != 0, "an allowed symbol has 0 in its table: it cannot be written; each has 1 at least")
    require(
        f.sum() == 256,
        f"the table sums to {int(f.sum())} and not to 2^8: a reader would go astray without an error",
    )
    f = run(p, 8, p > 0)
    require(f[-1] == 0, "a symbol that is not allowed has more than 0 in its table")
    require(f.sum() == 256, f"with a forbidden symbol the table sums to {int(f.sum())} and not to 2^8")
    require(f.tolist() != [128, 76, 38, 13, 1], "a symbol that is not allowed has more than 0 in its table")
    sure = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    f = run(sure, 3, yes)
    require(
        f.tolist() == [4, 1, 1, 1, 1],
        f"one sure symbol of five, eight in all: {f.tolist()}; the others keep 1 each, which is all that is left over",
    )
    f = run(torch.tensor([0.05, 0.15, 0.5, 0.3], dtype=torch.float64), 4, yes[:4])
    require(f.tolist() == [1, 2, 9, 4], f"the rest goes to the most probable symbol: [1, 2, 9, 4], not {f.tolist()}")
    f = run(torch.tensor([0.2, 0.4, 0.4], dtype=torch.float64), 4, yes[:3])
    require(f.tolist() == [3, 7, 6], f"of two most probable symbols the lower id takes what is left, got {f.tolist()}")
    f = run(torch.tensor([0.9, 0.1], dtype=torch.float64), 4, yes[:2])
    require(
        f.tolist() == [14, 2],
        f"every symbol has its 1 first, the rest is shared by p: 1 + floor(1.4) of 16 for 0.1, got {f.tolist()}",
    )
    f = run(torch.tensor([0.1, 0.9, 0.95], dtype=torch.float64), 4, torch.tensor([True, True, False]))
    require(
        f.tolist() == [2, 14, 0],
        f"the probability of a forbidden symbol does not count, and it takes nothing of what is left: {f.tolist()}",
    )
    f = run(torch.ones(1, dtype=torch.float64), 2, yes[:1])
    require(f.tolist() == [4], f"a single symbol has the whole table, [4], not {f.tolist()}")
    draw = Cases(151)
    for bits in (4, 12, 16, 24, 30):
        V = draw.int(2, 14)
        allowed = draw.bools(V, share=0.8)
        allowed[draw.int(0, V - 1)] = True
        p = (6 * draw.normal(3, 2, V, dtype=torch.float64)).masked_fill(~allowed, -torch.inf).softmax(-1)
        right = _table(p, bits, allowed)
        got = run(p, bits, allowed)
        require(bool((got.sum(-1) == 2**bits).all()), f"a table of {bits} bits does not sum to 2^{bits}")
        require(
            torch.equal(got, right),
            f"{V} symbols and {bits} bits: {got[0, 0].tolist()}, it should be {right[0, 0].tolist()}, to the last one",
        )
    third = torch.tensor([1 / 3, 2 / 3])
    got = run(third, 30, yes[:2])
    require(torch.equal(got, _table(third, 30, yes[:2])), "float32 rounds tables of 30 bits: compute in float64")
    try:
        fn(p, 0, allowed | True)
    except ValueError:
        return
    raise AssertionError("more symbols than the table has room for are a ValueError: not each can have 1")


def _table(p: Tensor, bits: int, allowed: Tensor) -> Tensor:
    total, out = 2**bits, []
    n = int(allowed.sum())
    for row in p.double().reshape(-1, p.shape[-1]).tolist():
        row = [v if ok else 0.0 for v, ok in zip(row, allowed.tolist(), strict=True)]
        f = [1 + int(v * (total - n)) if ok else 0 for v, ok in zip(row, allowed.tolist(), strict=True)]
        f[row.index(max(row))] += total - sum(f)
        out.append(f)
    return torch.tensor(out).reshape(p.shape)


EXERCISE = Exercise(
    id="15.1",
    title="Whole numbers from probabilities",
    minutes=15,
    difficulty=3,
    objective="Make tables from which a reader cannot go astray.",
    path="dlmlab.coding.frequencies",
    stub='''\
def frequencies(p: Tensor, bits: int, allowed: Tensor) -> Tensor:
    """Turn probabilities into whole numbers that sum to 2^bits exactly, each at least 1 where a symbol is allowed.

        f(v) = 1 + floor(p(v) (2^bits - n)) for the n allowed symbols, else 0; the rest goes to the largest allowed p

    In float64; of several largest the lowest id. Shapes: p (..., V) float, allowed (V,) bool -> (..., V) int64.
    Raises ValueError where n symbols have no room in 2^bits.
    """
    raise NotImplementedError
''',
    hints=(
        "How many of the 2^bits are given away before any probability is looked at? What can the sum of the floors be, "
        "at most?",
        "Set p to 0 where a symbol is not allowed, then scale, floor, add 1 where allowed. The difference of 2^bits "
        "and the sum is what is left; argmax gives the first of equals.",
        "p = torch.where(allowed, p.double(), 0.0); f = torch.where(allowed, 1 + (p * (2**bits - n)).floor().long(), "
        "0); f.scatter_add(-1, p.argmax(-1, keepdim=True), 2**bits - f.sum(-1, keepdim=True))",
    ),
    check=check_frequencies,
)
