"""The refit is the least-squares solution for its mask, with a ridge towards the old weights."""

import pytest
import torch

from dlmlab.compress import selection
from dlmlab.compress.refit import least_squares_refit
from tests.compress.cases import toy
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_refit_is_the_least_squares_solution_for_its_mask():
    W, X = toy(C=12, R=5, n=200)
    removed = selection.select(W.abs(), 0.5)
    removed[2] = False  # rows may keep different numbers
    out = least_squares_refit(W, removed, X.T @ X, damp=0.0)
    for r in range(5):
        K = ~removed[r]
        best = torch.linalg.lstsq(X[:, K].double(), X.double() @ W[r].double()).solution
        assert torch.allclose(out[r, K].double(), best, atol=1e-4)
        assert (out[r, removed[r]] == 0).all()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("damp", [0.0, 0.01, 3.0])
def test_the_refit_minimizes_output_error_and_distance_from_the_old_weights(damp, shared):
    """The brute force: each row by itself, the ridge as further inputs whose target is what the old weights make."""
    W, X = toy(C=12, R=5, n=200)
    removed = selection.select(W.abs(), 0.5)
    if shared:  # as where whole units leave: one factorization
        removed = removed[:1].expand(W.shape)
    ridge = damp * float((X * X).sum(0).mean())
    inputs = torch.cat([X, ridge**0.5 * torch.eye(12)]).double()
    out = least_squares_refit(W, removed, X.T @ X, damp=damp)
    for r in range(5):
        K = ~removed[r]
        best = torch.linalg.lstsq(inputs[:, K], inputs @ W[r].double()).solution
        assert torch.allclose(out[r, K].double(), best, atol=1e-4)


def test_rows_that_share_a_mask_get_what_each_would_get_alone():
    W, X = toy(C=12, R=5, n=200)
    removed = torch.arange(12) % 3 == 0
    whole = least_squares_refit(W, removed.expand(W.shape), X.T @ X)
    mixed = torch.stack([removed, ~removed])  # two masks: the general path
    pairs = [least_squares_refit(W[[r, r]], mixed, X.T @ X)[0] for r in range(5)]
    torch.testing.assert_close(whole, torch.stack(pairs), rtol=1e-5, atol=1e-6)
    nothing = torch.zeros_like(W, dtype=torch.bool)
    torch.testing.assert_close(least_squares_refit(W, nothing, X.T @ X), W, rtol=1e-5, atol=1e-6)
