"""Exercise 5.2. The oracle is least squares on inputs, the columns to the right as unknowns; no factor enters it."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, close, expect_same, require, untouched
from dlmlab.course.exercises import Exercise


def _case(draw: Cases, R: int, C: int, j: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W (R, C), rounded (R,), U (C, C), and what W should become, from inputs with a correlation of their own."""
    X = draw.normal(4 * C + 8, C, dtype=torch.float64)
    X = X @ (torch.eye(C, dtype=torch.float64) + 0.4 * draw.normal(C, C, dtype=torch.float64) / C**0.5)
    U = torch.linalg.cholesky(torch.linalg.inv(X.T @ X), upper=True)
    W = draw.normal(R, C, dtype=torch.float64)
    rounded = W[:, j].round()
    right = W.clone()
    right[:, j] = rounded
    if j + 1 < C:
        lacks = X[:, j, None] * (W[:, j] - rounded)
        right[:, j + 1 :] += torch.linalg.lstsq(X[:, j + 1 :], lacks).solution.T
    return W, rounded, U, right


def check_compensate(fn: Callable) -> None:
    """Judge an answer to 5.2."""
    U = torch.tensor([[2.0, 1.0, 0.0], [0.0, 4.0, 2.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    before = torch.tensor([[0.5, 1.4, 1.0], [0.0, 3.2, 5.0]], dtype=torch.float64)
    W, rounded = before.clone(), torch.tensor([1.0, 3.0], dtype=torch.float64)
    with untouched(rounded=rounded, U=U):
        fn(W, 1, rounded, U)
    require(not torch.equal(W, before), "nothing changed: W itself must change, in place")
    require(close(W[:, 0], before[:, 0]), "a column to the left changed: it is rounded already and must stay")
    require(close(W[:, 1], rounded), "column j itself takes its rounded values")
    error, gap = before[:, 1] - rounded, W[:, 2] - before[:, 2]
    require(not close(gap, [0.0, 0.0]), "the columns to the right did not change: they repair the error")
    require(
        not close(gap, error / 2),
        "the sign is wrong: what column j gained by rounding, the others must lose: w_k - e U_jk",
    )
    require(not close(gap, -2 * error), "the error is not divided by U_jj")
    require(not close(gap, -error / 8), "the error is divided by U_jj once, not by its square")
    require(not close(gap, [-0.15, -0.15]), "every row has an error of its own: do not mix them")
    require(close(gap, -error / 2), f"the last column should change by -0.20 and -0.10, it changed by {gap.tolist()}")
    draw = Cases(58)
    for R, C, j in ((1, 1, 0), (1, 5, 0), (6, 4, 3), (4, 9, 2), (9, 12, 10), (3, 24, 7)):
        W, rounded, U, right = _case(draw, R, C, j)
        with untouched(rounded=rounded, U=U):
            fn(W, j, rounded, U)
        expect_same(W, right, f"{R} rows, column {j} of {C}", tol=1e-6)


EXERCISE = Exercise(
    id="5.2",
    title="One column of GPTQ",
    minutes=15,
    difficulty=3,
    objective="Let the columns that are not rounded yet repair the error of the one that is.",
    path="dlmlab.gptq.compensate",
    stub='''\
def compensate(W: Tensor, j: int, rounded: Tensor, U: Tensor) -> None:
    """Put column j of W on its rounded values, and let the columns to its right repair the error, in place.

        e = (w_j - rounded) / U_jj,      w_k becomes w_k - e U_jk  for every k > j

    Columns to the left of j stay as they are. Returns nothing.
    Shapes: W (R, C) float64, rounded (R,), U (C, C) upper triangular. Only W is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Each row has one error. Each column to the right takes a multiple of it: which number of U says how much?",
        "Compute the error before column j is overwritten. Row j of U, from the diagonal on, holds all that is needed: "
        "an outer product of errors and of that row is what the columns to the right lose.",
        "W[:, j + 1 :] -= error[:, None] * U[j, j + 1 :], with error = (W[:, j] - rounded) / U[j, j] made before.",
    ),
    check=check_compensate,
)
