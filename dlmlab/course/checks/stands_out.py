"""Exercise 3.2. Rows of column sums, each made for one mistake; L = 5, where sink and others differ by a few units."""

from collections.abc import Callable

import torch

from dlmlab.course.checks.expect import expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_stands_out(fn: Callable) -> None:
    """Judge an answer to 3.2."""

    def run(rows: list[list[float]], *eps: float) -> list[list[int]]:
        sums = torch.tensor(rows)
        with untouched(sums=sums):
            out = fn(sums, *eps)
        expect_tensor(out, sums.shape, torch.bool)
        return out.int().tolist()

    out = run([[4.6, 0.1, 0.1, 0.1, 0.1], [0.5, 0.5, 2.0, 1.0, 1.0]])
    require(
        any(map(any, out)),
        "a position with 4.6 of 5 does not stand out: after division by L, or in units of the standard deviation, "
        "nothing can exceed the others by 3; compare the sums themselves",
    )
    require(out == [[1, 0, 0, 0, 0], [0] * 5], f"4.6 beside 0.1 stands out by 3, 2.0 beside 0.75 does not; got {out}")
    out = run([[0.45, 0.45, 3.2, 0.45, 0.45]])
    require(out == [[0] * 5], "3.2 is 7 times 0.45 but only 2.75 more: eps is added to the mean, it is no factor")
    out = run([[0.325, 3.7, 0.325, 0.325, 0.325]])
    require(out == [[0, 1, 0, 0, 0]], "3.7 is 3.375 more than the others: their mean leaves out the position itself")
    out = run([[0.4075, 0.4075, 0.4075, 0.4075, 3.37]])
    require(out == [[0] * 5], "3.37 is 2.9625 more than the others: there are L - 1 others, not L")
    out = run([[2.5, 0.5, 0.5, 0.5, 0.5]], 2.0)
    require(out == [[0] * 5], "2.5 is exactly 2.0 more than the others: the rule is > mean + eps, not >=")
    out = run([[2.5, 0.5, 0.5, 0.5]], 1.5)
    require(out == [[1, 0, 0, 0]], f"eps = 1.5 must let 2.5 beside 0.5 stand out; is eps used? got {out}")
    out = run([[7.0, 7.0, 7.0, 7.0], [0.0, 0.0, 3.5, 0.5]])
    require(
        out == [[0] * 4, [0, 0, 1, 0]], f"compare a position with the others of its own row, not of all rows; got {out}"
    )
    out = run([[0.2] * 5 + [5.0, 5.0] + [0.2] * 5, [1.0] * 12])
    require(out == [[0] * 5 + [1, 1] + [0] * 5, [0] * 12], f"two positions of one row may stand out; got {out}")


EXERCISE = Exercise(
    id="3.2",
    title="Mark what stands out",
    minutes=10,
    difficulty=2,
    objective="Apply an absolute criterion that may find nothing, and see why its printed form cannot find anything.",
    path="dlmlab.sinks.stands_out",
    stub='''\
def stands_out(sums: Tensor, eps: float = 3.0) -> Tensor:
    """Mark every position whose column sum is greater than eps plus the mean column sum of the other positions.

    The other positions are those of the same row without the position itself. Shapes: sums (..., L) -> (..., L) bool.
    `sums` is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Each position is compared with a number of its own: what the others of its row get, on average.",
        "The mean of the others needs no loop: sum the row, subtract the position, divide by how many remain.",
        "total = sums.sum(-1, keepdim=True); the mean of the others is (total - sums) / (L - 1), at every position.",
    ),
    check=check_stands_out,
)
