"""Dilated attention over keys that remember: RAT+.

Decisions
* Keys and values are smoothed over the whole sequence, k_t <- g_t k_(t-1) + (1 - g_t) k_t, one gate g a channel and
  token for both. A key then stands for what came before it, and reading only every D-th key may be enough.
* Positions are turned in (RoPE) after the smoothing: rotated keys of several positions do not mix.
* `smooth` doubles its reach in each pass, log2 L passes in all; the loop over tokens is in the test.

Source: RAT+, arXiv 2602.18196 (abstract) and its repository wimh966/rat-plus (commit 68cfdaa, read, not copied).
"""

import torch
from torch import Tensor


def reads(L: int, every: int, window: int = 0, first: int = 0) -> Tensor:
    """Say which keys each query may read, (L, L) bool, queries down: key j <= i where

    * (j + 1) is a multiple of `every`: the last key of each finished run of so many, or
    * i - j <= `window`: the query's own key and `window` before it, or
    * j < `first`: the beginning of the text.

    Raises `ValueError` for `every` below 1.

    >>> [int(reads(64, every, window)[-1].sum()) for every, window in ((1, 0), (4, 0), (16, 0), (64, 0), (64, 8))]
    [64, 16, 4, 1, 9]
    """
    if every < 1:
        raise ValueError(f"every {every}-th key: it has to be 1 at least")
    i, j = torch.arange(L)[:, None], torch.arange(L)
    return (j <= i) & (((j + 1) % every == 0) | (i - j <= window) | (j < first))


def smooth(x: Tensor, gate: Tensor) -> Tensor:
    """Remember: y_t = gate_t y_(t-1) + (1 - gate_t) x_t, from y = 0. Shapes: x, gate (..., L, D) -> (..., L, D).

    A gate of 0 everywhere gives x back.

    >>> smooth(torch.tensor([[8.0], [0], [4]]), torch.full((3, 1), 0.5)).flatten().tolist()
    [4.0, 2.0, 3.0]
    """
    keep, y, step = gate, (1 - gate) * x, 1
    while step < x.shape[-2]:
        earlier = torch.zeros_like(y), torch.zeros_like(keep)
        for old, new in zip((y, keep), earlier, strict=True):
            new[..., step:, :] = old[..., :-step, :]
        y, keep = y + keep * earlier[0], keep * earlier[1]
        step *= 2
    return y
