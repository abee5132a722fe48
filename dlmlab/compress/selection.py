"""Which entries go: the lowest scores of a row, of a matrix, of all matrices, or n of every m.

Exactly k entries go, of equal scores the lower index first. The released magnitude and SparseGPT code compares with
`<=` and removes ties and one entry too many.
"""

import re

import torch
from torch import Tensor


def n_of_m(pattern: str) -> tuple[int, int] | None:
    """Read "n:m" as (n, m), n of m consecutive weights removed; None for another pattern."""
    match = re.fullmatch(r"(\d+):(\d+)", pattern)
    return (int(match[1]), int(match[2])) if match else None


def check_request(sparsity: float, pattern: str = "row") -> None:
    """Raise `ValueError` for a sparsity outside [0, 1), an unknown pattern, or n:m with another sparsity than n/m."""
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity={sparsity} is outside [0, 1)")
    nm = n_of_m(pattern)
    if pattern not in ("row", "layer", "global") and nm is None:
        raise ValueError(f"pattern={pattern!r} is unknown; known: row, layer, global, n:m such as 2:4")
    if nm and not 0 < nm[0] < nm[1]:
        raise ValueError(f"pattern={pattern!r} removes n of m weights: it needs 0 < n < m")
    if nm and abs(sparsity - nm[0] / nm[1]) > 1e-9 and sparsity != 0:
        raise ValueError(f"pattern {pattern} removes {nm[0] / nm[1]:.0%} of the weights, not sparsity={sparsity}")


def select(scores: Tensor, sparsity: float, pattern: str = "row") -> Tensor:
    """Mark the lowest scores for removal, (R, C) bool.

    `pattern`: the int(C s) lowest of each `row`; the int(R C s) lowest of the whole `layer` (one matrix); or `n:m`,
    the n lowest of every m consecutive columns. Of equal scores the lower index goes. Raises `ValueError` as
    `check_request`, and for n:m when m does not divide C.

    >>> select(torch.tensor([[3.0, 1.0, 2.0, 4.0]]), 0.5).tolist()
    [[False, True, True, False]]
    """
    check_request(sparsity, pattern)
    if pattern == "global":
        raise ValueError("pattern='global' compares matrices with each other: use select_global")
    R, C = scores.shape
    nm = n_of_m(pattern)
    if nm is None:
        return lowest(scores, sparsity) if pattern == "row" else lowest(scores.view(1, -1), sparsity).view(R, C)
    if C % nm[1]:
        raise ValueError(f"pattern {pattern}: {C} columns are not a multiple of {nm[1]}")
    return lowest(scores.reshape(-1, nm[1]), nm[0] / nm[1] if sparsity else 0.0).view(R, C)


def lowest(scores: Tensor, sparsity: float) -> Tensor:
    """Mark the int(C s) lowest of each row, (R, C) bool; of equal scores the lower index.

    Finding the k-th lowest takes half the time of sorting. Raises `ValueError` for scores that are nan.
    """
    if bool(scores.isnan().any()):
        raise ValueError(f"{int(scores.isnan().sum())} of {scores.numel()} scores are nan: they have no order")
    k = int(scores.shape[-1] * sparsity + 1e-9)
    if k == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    last = scores.kthvalue(k, dim=-1, keepdim=True).values
    removed, tied = scores < last, scores == last
    missing = k - removed.sum(-1, keepdim=True)
    return removed | (tied & (tied.cumsum(-1) <= missing))


def select_global(scores: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Mark the lowest scores of all matrices together: which layer loses how much follows from the scores."""
    check_request(sparsity)
    flat = lowest(torch.cat([s.flatten() for s in scores.values()])[None], sparsity)[0]
    parts = flat.split([s.numel() for s in scores.values()])
    return {name: part.view(s.shape) for (name, s), part in zip(scores.items(), parts, strict=True)}
