"""SparseGPT: remove weights column by column and let the columns to the right repair the error.

Decisions
* The mask of a block of columns is chosen when the block is reached, from weights that were already updated. With one
  block for all columns it is one shot, which is what the usual 128 means for a narrow layer; the default here is an
  eighth of the columns.
* The threshold is taken over all rows of a block together, as in the released code, but with an exact count.
* float64 inside; the damping is relative to the mean diagonal, so scaling the texts changes nothing.

Source: Frantar and Alistarh, arXiv 2301.00774, algorithm 1.
"""

import torch
from torch import Tensor

from dlmlab.selection import check_request, lowest, n_of_m


def default_block(C: int) -> int:
    """Choose a block size for C columns: an eighth of them, between 8 and 128, a multiple of 4."""
    return min(128, max(8, C // 8 // 4 * 4))


def inverse_factor(gram: Tensor, damp: float) -> tuple[Tensor, Tensor]:
    """Return the upper Cholesky factor U of the inverse, U^T U = (G + ridge I)^-1, and the dead columns, (C, C), (C,).

    A column that was never active gets a diagonal of 1; its weights are removed.
    """
    H = gram.double().clone()
    dead = H.diagonal() == 0
    H[dead, dead] = 1.0
    H += damp * H.diagonal().mean() * torch.eye(len(H), dtype=torch.float64)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(H))
    return torch.linalg.cholesky(inverse, upper=True), dead


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

    `pattern`: n:m, or anything else for the share `sparsity` of each block of columns. Score of a weight: W^2 / U_jj^2;
    error of column j: (w - w_pruned) / U_jj, which goes to the columns right of it along row j of U. Raises
    `ValueError` for n:m when m divides neither the block nor C.
    """
    check_request(sparsity, pattern)
    R, C = W.shape
    block, nm = block or default_block(C), n_of_m(pattern)
    if nm and (C % nm[1] or block % nm[1]):
        raise ValueError(f"pattern {pattern}: {nm[1]} must divide the columns ({C}) and the block ({block})")
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
