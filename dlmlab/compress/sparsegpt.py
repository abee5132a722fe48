"""SparseGPT: remove weights column by column and let the columns to the right repair the error.

Decisions
* The mask of a block of columns is chosen when the block is reached, from weights that were already updated. With one
  block for all columns it is one shot, which is what the usual 128 means for a narrow layer; the default here is an
  eighth of the columns.
* The threshold is taken over all rows of a block together, as in the released code, but with an exact count.
* float64 inside; the damping (`dlmlab.moments`) is relative to the mean diagonal, so scaling the texts changes nothing.

Source: Frantar and Alistarh, arXiv 2301.00774, algorithm 1.
"""

import torch
from torch import Tensor

from dlmlab.compress.moments import cholesky, damped
from dlmlab.compress.selection import check_request, lowest, n_of_m


def default_block(C: int, m: int = 1) -> int:
    """Choose a block size for C columns: an eighth of them, between 8 and 128, a multiple of 4, rounded up to whole
    groups of m.

    >>> default_block(192), default_block(192, 16)
    (24, 32)
    """
    return -(-min(128, max(8, C // 8 // 4 * 4)) // m) * m


def check_block(block: int | None, pattern: str = "row") -> None:
    """Raise `ValueError` unless the block is None (chosen by the number of columns) or holds whole groups of n:m."""
    nm = n_of_m(pattern)
    if block is None:
        return
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise ValueError(f"block={block!r} must be a whole number of columns >= 1, or None")
    if nm and block % nm[1]:
        raise ValueError(f"block={block} does not hold whole groups of pattern {pattern}: take a multiple of {nm[1]}")


def inverse_factor(gram: Tensor, damp: float) -> tuple[Tensor, Tensor]:
    """Return the upper Cholesky factor U of the inverse, U^T U = (G + ridge I)^-1, and the dead columns, (C, C), (C,).

    A column that was never active gets a diagonal of 1; its weights are removed. Raises `ValueError` as
    `moments.damped` and `moments.cholesky`.
    """
    H, dead = damped(gram, damp)
    inverse = torch.cholesky_inverse(cholesky(H, damp))
    return cholesky(inverse, damp, upper=True), dead


def sparsegpt(
    W: Tensor,
    gram: Tensor,
    sparsity: float,
    *,
    pattern: str = "row",
    block: int | None = None,
    damp: float = 0.01,
) -> Tensor:
    """Prune W (R, C) given the second moments of its inputs, gram (C, C); returns the new matrix.

    `pattern`: n:m, or anything else for the share `sparsity` of each block of columns. `block`: columns whose mask is
    chosen together, by default `default_block`; 128 in the released code. Score of a weight: W^2 / U_jj^2; error of
    column j: (w - w_pruned) / U_jj, which goes to the columns right of it along row j of U. Raises `ValueError` for
    n:m when m does not divide C or the block, and as `inverse_factor`.
    """
    check_request(sparsity, pattern)
    check_block(block, pattern)
    C, nm = W.shape[1], n_of_m(pattern)
    if nm and C % nm[1]:
        raise ValueError(f"pattern {pattern}: {C} columns are not a multiple of {nm[1]}")
    block = block or default_block(C, nm[1] if nm else 1)
    if sparsity == 0:
        return W.clone()
    U, dead = inverse_factor(gram, damp)
    W0, W = W, W.double().masked_fill(dead, 0.0)
    for start in range(0, C, block):
        end = min(start + block, C)
        part, diagonal = W[:, start:end], U.diagonal()[start:end]
        removed = (
            torch.zeros_like(part, dtype=torch.bool)
            if nm
            else lowest((part / diagonal).abs().reshape(1, -1), sparsity).view(part.shape)
        )
        errors = torch.zeros_like(part)
        for j in range(end - start):
            if nm and j % nm[1] == 0:
                group = slice(j, j + nm[1])
                removed[:, group] = lowest((part[:, group] / diagonal[group]).abs(), nm[0] / nm[1])
            error = part[:, j] * removed[:, j] / diagonal[j]  # (R,)
            part[:, j:] -= error[:, None] * U[start + j, start + j : end]
            part[:, j] = part[:, j].masked_fill(removed[:, j], 0.0)
            errors[:, j] = error
        W[:, end:] -= errors @ U[start:end, end:]
    return W.to(W0.dtype)
