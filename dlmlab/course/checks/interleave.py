"""Exercise 18.2. Matrices of several heads and widths whose rows are numbered, each place compared."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, close, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_interleave(fn: Callable) -> None:
    """Judge an answer to 18.2."""

    def run(W: Tensor, heads: int) -> Tensor:
        with untouched(W=W):
            out = fn(W, heads)
        expect_tensor(out, tuple(W.shape), W.dtype)
        return out

    other = "the other way round: row 1 of a head's first half goes *to* place 2, it does not come from there"
    rows = torch.arange(16.0)[:, None] * torch.ones(1, 3)
    got, right = run(rows, 2), _right(rows, 2)
    mistakes = {
        "nothing moved: the pairs are still (i, i + half)": rows,
        other: _back(rows, 2),
        "each head by itself: the rows of different heads were mixed": _right(rows, 1),
        "of each pair the row of the first half comes first": _right(rows.view(2, 2, 4, 3).flip(1).reshape(16, 3), 2),
        "heads changed places": _right(rows.view(2, 8, 3).flip(0).reshape(16, 3), 2),
    }
    for message, wrong in mistakes.items():
        require(not close(got, wrong, 1e-3), message)
    expect_same(got, right, "16 rows, 2 heads")
    require(
        close(run(torch.arange(12.0).view(2, 6), 1), torch.arange(12.0).view(2, 6), 1e-3),
        "rows move, columns stay: a head of two rows is in order already",
    )
    draw = Cases(182)
    cases = [(1, 1, 1), (1, 2, 5), (3, 1, 2), (6, 16, 1)]
    cases += [(draw.int(1, 6), draw.int(1, 8), draw.int(1, 9)) for _ in range(10)]
    for heads, half, columns in cases:
        W = draw.normal(2 * heads * half, columns)
        expect_same(run(W, heads), _right(W, heads), f"{heads} heads of {2 * half}, {columns} columns")


def _places(n: int, heads: int) -> list[int]:
    d = n // heads
    return [h * d + (i // 2 if i % 2 == 0 else d // 2 + i // 2) for h in range(heads) for i in range(d)]


def _right(W: Tensor, heads: int) -> Tensor:
    return W[_places(len(W), heads)]


def _back(W: Tensor, heads: int) -> Tensor:
    out = torch.empty_like(W)
    out[_places(len(W), heads)] = W
    return out


EXERCISE = Exercise(
    id="18.2",
    title="The same pairs, elsewhere",
    minutes=12,
    difficulty=2,
    objective="Re-order a matrix so that another program's rotation turns the same pairs.",
    path="dlmlab.gguffile.interleave",
    stub='''\
def interleave(W: Tensor, heads: int) -> Tensor:
    """Re-order the rows of a query or key matrix for a program that turns the pairs (2i, 2i + 1) of each head.

    Ours turns (i, i + half), where half is half of a head's rows: row i of a head's first half goes to place 2i of that
    head, row i of its second half to place 2i + 1. Shapes: (heads * d, C) -> (heads * d, C).
    """
    raise NotImplementedError
''',
    hints=(
        "Write the rows of one head of four as a table of two lines: first half, second half. In which direction does "
        "the other program read it?",
        "Rows have three indices: head, half, place inside the half. Give each an axis, swap two of them, and put the "
        "axes back into one. The columns stay as they are.",
        "W.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)",
    ),
    check=check_interleave,
)
