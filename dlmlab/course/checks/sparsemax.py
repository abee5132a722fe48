"""Exercise 10.1. Scores with ties, below zero, in any order, far apart and close together; one token, one row, many."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, close, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_sparsemax(fn: Callable) -> None:
    """Judge an answer to 10.1."""

    def run(scores: Tensor) -> Tensor:
        with untouched(scores=scores):
            q = fn(scores)
        expect_tensor(q, tuple(scores.shape), scores.dtype)
        return q

    q = run(torch.tensor([2.0, 1.5, 0.5, 0.0, -1.0], dtype=torch.float64))
    for message, wrong in {
        "this is softmax: nothing is 0 in it": [0.496331, 0.301040, 0.110746, 0.067171, 0.024711],
        "that costs sum q^2; half of it is asked for: what does the half do to the derivative?": [
            0.625,
            0.375,
            0,
            0,
            0,
        ],
        "shares in proportion to the scores are no projection: subtract, do not divide": [0.5, 0.375, 0.125, 0, 0],
        "everything on the best token is greedy: the nearest point shares when the scores are close": [1, 0, 0, 0, 0],
    }.items():
        require(not close(q, wrong, 1e-4), message)
    _expect_distribution(q, "the scores 2, 1.5, 0.5, 0, -1")
    require(close(q, [0.75, 0.25, 0, 0, 0]), "2, 1.5, 0.5, 0, -1 give 0.75, 0.25, 0, 0, 0: worked by hand, tau is 1.25")
    q = run(torch.tensor([-1.0, 2.0, 1.5, 0.5], dtype=torch.float64))
    require(
        not close(q, [0.75, 0.25, 0, 0]),
        "the result is sorted: each share belongs to its own token, wherever it stands",
    )
    _expect_distribution(q, "the scores -1, 2, 1.5, 0.5")
    require(
        close(q, [0, 0.75, 0.25, 0]),
        "the scores -1, 2, 1.5, 0.5 are not in order: who shares is asked from the best on",
    )
    q = run(torch.tensor([-7.0, -7.5, -9.0], dtype=torch.float64))
    _expect_distribution(q, "scores below 0")
    require(close(q, [0.75, 0.25, 0]), "adding a number to all scores changes nothing: scores below 0 are no zeros")
    draw = Cases(101)
    for shape in ((1,), (4,), (1, 1), (1, 7), (5, 3), (3, 40), (2, 3, 6)):
        for scale in (0.05, 1.0, 8.0):
            scores = scale * draw.normal(*shape, dtype=torch.float64) - 2
            q = run(scores)
            _expect_distribution(q, f"random scores of shape {shape}")
            expect_same(q, _by_bisection(scores), f"shape {shape}", tol=1e-6)


def _expect_distribution(q: Tensor, case: str) -> None:
    require(bool((q >= 0).all()), f"{case}: a probability below 0")
    sums = q.sum(-1)
    require(
        close(sums, torch.ones_like(sums)),
        f"{case}: a row sums to {float(sums.flatten()[0]):.3f}, not to 1: tau belongs to the tokens that keep a "
        "share, row by row",
    )


def _by_bisection(scores: Tensor) -> Tensor:
    low, high = scores.amax(-1, keepdim=True) - 1, scores.amax(-1, keepdim=True)
    for _ in range(60):
        tau = (low + high) / 2
        more = (scores - tau).clamp(min=0).sum(-1, keepdim=True) > 1
        low, high = torch.where(more, tau, low), torch.where(more, high, tau)
    return (scores - low).clamp(min=0)


EXERCISE = Exercise(
    id="10.1",
    title="The nearest distribution",
    minutes=15,
    difficulty=3,
    objective="Solve a problem on the simplex by its optimality condition.",
    path="dlmlab.simplex.sparsemax",
    stub='''\
def sparsemax(scores: Tensor) -> Tensor:
    """Give the argmax over distributions q of <q, s> - sum q^2 / 2: max(s_v - tau, 0) with the tau that makes sum 1.

    Shapes: scores (..., V), any sign and order -> q (..., V) of the same type. `scores` is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Suppose you knew that exactly the three best tokens keep a share. What is tau then?",
        "A token belongs to those that share as long as it lies above the tau of all that are at least as good, itself "
        "included. So sort, add up, and count for how many that holds.",
        "s sorted; total = cumsum(s); size = (1 + count * s > total).sum(-1); tau = (total[size - 1] - 1) / size",
    ),
    check=check_sparsemax,
)
