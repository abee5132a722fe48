"""Exercise 4.3. The oracle is the least-squares solver on the inputs themselves, row by row."""

from collections.abc import Callable

import torch

from dlmlab.course.checks.expect import expect_tensor, require, seeded, untouched
from dlmlab.course.exercises import Exercise

SMALL = [[1, 0, 0, 1, 0, 1], [0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]]  # removed: 3, 2 and none


def _case(damp: float, removed: torch.Tensor):
    """W (R, C) and inputs X of a mask (R, C), and the best weights for it."""
    (R, C), g = removed.shape, seeded(3)
    X = torch.randn(5 * C + 10, C, generator=g) @ (torch.eye(C) + 0.3 * torch.randn(C, C, generator=g))
    W = torch.randn(R, C, generator=g)
    ridge = (damp * float((X * X).sum(0).mean())) ** 0.5
    inputs = torch.cat([X, ridge * torch.eye(C)]).double()  # the ridge as C more texts
    best = torch.zeros(R, C, dtype=torch.float64)
    for r in range(R):
        K = ~removed[r]
        best[r, K] = torch.linalg.lstsq(inputs[:, K], inputs @ W[r].double()).solution
    return W, removed, X.T @ X, best


def check_least_squares_refit(fn: Callable) -> None:
    """Judge an answer to 4.3."""
    for damp in (0.0, 0.5):
        W, removed, gram, best = _case(damp, torch.tensor(SMALL, dtype=torch.bool))
        with untouched(W=W, removed=removed, gram=gram):
            out = fn(W, removed, gram, damp=damp)
        expect_tensor(out, (3, 6), torch.float32)
        require(not bool(out[removed].any()), "removed weights must be exactly 0")
        require(
            not torch.allclose(out, W.masked_fill(removed, 0.0)), "the surviving weights did not change: refit them"
        )
        require(
            torch.allclose(out[2], W[2], atol=1e-3),
            "a row that lost nothing must stay as it is: its dense weights are already the best"
            + (", and the ridge pulls towards the old weights, not towards 0" if damp else ""),
        )
        close = torch.allclose(out.double(), best, rtol=1e-3, atol=1e-3)
        require(
            close or damp, "not the least-squares solution: solve G_KK w_K = (G w)_K for the kept columns K of each row"
        )
        require(close, "with damp = 0.5 the solution is another: the ridge is damp times the mean of the diagonal of G")
    for shape in ((1, 1), (1, 7), (6, 1), (4, 9), (12, 5)):
        removed = torch.rand(shape, generator=seeded(sum(shape))) < 0.4
        W, removed, gram, best = _case(0.02, removed)
        out = fn(W, removed, gram, damp=0.02)
        expect_tensor(out, shape, torch.float32)
        require(
            torch.allclose(out.double(), best, rtol=1e-3, atol=1e-3),
            f"a random mask of shape {shape} has another solution; do all rows keep their own columns, also none?",
        )


EXERCISE = Exercise(
    id="4.3",
    title="Refit what survives",
    minutes=25,
    difficulty=4,
    objective="Give the surviving weights the values that best repeat the dense output.",
    path="dlmlab.refit.least_squares_refit",
    stub='''\
def least_squares_refit(W: Tensor, removed: Tensor, gram: Tensor, *, damp: float = 0.01) -> Tensor:
    """Refit the kept weights of each row, K, so that they repeat the dense output as well as they can.

        w_K = (G_KK + ridge I)^-1 (G w + ridge w)_K,   G = gram,   ridge = damp * mean of the diagonal of G

    Removed weights are 0; rows may keep different numbers of weights. Solve in float64.
    Shapes: W, removed (R, C), gram (C, C) -> (R, C) of W's dtype. No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Which columns does a row keep? Write the equation for that row alone, with those rows and columns of G.",
        "With the ridge added to the diagonal of G once, both sides of the equation use the same matrix, in float64.",
        "Loop over rows: K = ~removed[r]; out[r, K] = torch.linalg.solve(G[K][:, K], (G @ W[r].double())[K]).",
    ),
    check=check_least_squares_refit,
)
