"""Exercise 4.5. Masks small enough to count."""

from collections.abc import Callable

import torch

from dlmlab.course.checks.expect import NOTHING, close, require, untouched
from dlmlab.course.exercises import Exercise


def check_jaccard(fn: Callable) -> None:
    """Judge an answer to 4.5."""

    def run(a: list, b: list) -> float:
        a, b = torch.tensor(a, dtype=torch.bool), torch.tensor(b, dtype=torch.bool)
        with untouched(a=a, b=b):
            out = fn(a, b)
        require(out is not None, NOTHING)
        return float(out)

    a, b = [[1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], [[1, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]]
    value = run(a, b)
    require(
        not close(value, 9 / 12),
        "weights that both masks keep must not count: at low sparsity everything would agree",
    )
    require(not close(value, 2 / 3), "divide by what either mask removes, not by what the first one removes")
    require(not close(value, 4 / 7), "this is the Dice index, 2 both / (a + b); Jaccard divides by the union")
    require(not close(value, (1 / 3 + 1 / 2) / 2), "count over the whole matrix, not row by row")
    require(close(value, 0.4), f"2 weights are removed by both, 5 by either: 0.4; got {value:.3f}")
    require(close(run(b, a), value), "the index must be symmetric")
    require(close(run(a, a), 1.0), "a mask agrees fully with itself")
    require(close(run([[1, 0]], [[0, 1]]), 0.0), "disjoint masks have agreement 0")
    try:
        empty = run([[0, 0]], [[0, 0]])
    except ZeroDivisionError:
        raise AssertionError("two empty masks: 0 / 0; they agree, the result is 1") from None
    require(close(empty, 1.0), f"two empty masks agree: 1; got {empty}")


EXERCISE = Exercise(
    id="4.5",
    title="Do two masks agree?",
    minutes=5,
    difficulty=1,
    objective="Measure the agreement of two masks, and compare it with its noise floor.",
    path="dlmlab.levels.jaccard",
    stub='''\
def jaccard(a: Tensor, b: Tensor) -> float:
    """Jaccard index of two masks of removed weights: removed by both / removed by either; 1 when neither removes any.

    Shapes: a, b bool of one shape -> a number in [0, 1]. No input is changed.
    """
    raise NotImplementedError
''',
    hints=("& is both, | is either.", "(a & b).sum() / (a | b).sum(), with 1.0 when the latter is 0."),
    check=check_jaccard,
)
