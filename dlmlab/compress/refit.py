"""Least squares: give the survivors of a fixed mask the values that best repeat the dense output.

Decisions
* The ridge pulls towards the *old* weights, not towards 0: a row that lost nothing stays as it is, and so does a weight
  about which the texts say nothing.
* Where all rows lost the same columns (heads, neurons), one factorization serves them all.

Source: least squares as in the optimal brain surgeon, Hassibi and Stork 1993.
"""

import torch
from torch import Tensor

from dlmlab.compress import moments

DAMP = 0.01  # the ridge as a share of the mean second moment


def least_squares_refit(W: Tensor, removed: Tensor, gram: Tensor, *, damp: float = DAMP) -> Tensor:
    """Refit the surviving weights of each row, (R, C); removed ones are 0.

        w_K <- argmin |X_K w_K - X w|^2 + ridge |w_K - w_K(old)|^2 = (G_KK + ridge I)^-1 (G w + ridge w)_K,  G = X^T X

    with ridge = damp * mean(diag G). Exact for a fixed mask: the upper baseline of what any weight update can reach.
    Weights of a dead feature stay as they are. Shapes: W, removed (R, C), gram (C, C). Raises `ValueError` when the
    kept weights are not determined, and as `moments.damped`.
    """
    G, _ = moments.damped(gram, damp)
    target = W.double() @ G  # (R, C)
    out = torch.zeros_like(target)
    if bool((removed == removed[:1]).all()):
        K = (~removed[0]).nonzero()[:, 0]  # (n,)
        A = G[K][:, K]
        moments.cholesky(A, damp)  # refuses what is singular
        out[:, K] = torch.linalg.solve(A, target[:, K].T).T
        return out.to(W.dtype)
    most = int((~removed).sum(1).max())
    order = removed.to(torch.int8).argsort(dim=1, stable=True)[:, :most]  # kept columns first, (R, most)
    pad = removed.gather(1, order)  # rows that keep fewer: solved as an identity
    for rows in torch.arange(len(W), device=W.device).split(32):
        K, p = order[rows], pad[rows]
        A = G[K[:, :, None], K[:, None, :]]  # (r, most, most)
        A = A.masked_fill(p[:, :, None] | p[:, None, :], 0.0) + torch.diag_embed(p.double())
        moments.cholesky(A, damp)
        b = target[rows].gather(1, K).masked_fill(p, 0.0)
        out[rows] = out[rows].scatter(1, K, torch.linalg.solve(A, b[..., None])[..., 0])
    return out.to(W.dtype)
