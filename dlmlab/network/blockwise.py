"""Block diffusion in one forward: a noised text with the clean one behind it.

    sequence [x_t ; x_0], 2 L tokens, both halves at positions 0..L-1; a token at position i of block b(i) sees
        x_t -> x_t   its own block             b(i) = b(j)
        x_t -> x_0   the blocks before         b(i) > b(j)
        x_0 -> x_0   its own and those before  b(i) >= b(j)
        x_0 -> x_t   never

So each noised block is predicted from the clean blocks before it, as when it is decoded, and all blocks of a text learn
in one forward instead of one after the other. Training on x_t alone would show a block the *masks* of the blocks before
it, which it never meets when it is decoded.

Source: Arriola et al., BD3-LM, arXiv 2503.09573, section 3 and appendix; used by LLaDA2.0, arXiv 2512.15745.
"""

import torch
from torch import Tensor


def pair_bias(
    L: int, block: int | None, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """Make the additive mask of [x_t ; x_0], (1, 1, 2L, 2L): 0 where a query (row) sees a key, -inf elsewhere.

    Raises `ValueError` for `block=None`: with full attention the clean text behind would never be read.

    >>> pair_bias(2, 1)[0, 0].exp().int().tolist()
    [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    """
    if block is None:
        raise ValueError("attention='full': a clean text is read block by block, it needs attention='block:K'")
    b = torch.arange(L, device=device) // block
    own, before = b[:, None] == b, b[:, None] > b  # (L, L)
    allowed = torch.cat([torch.cat([own, before], 1), torch.cat([torch.zeros_like(own), own | before], 1)])
    return torch.zeros(2 * L, 2 * L, dtype=dtype, device=device).masked_fill(~allowed, float("-inf"))[None, None]


def check(noised: Tensor | None, clean: Tensor, *others) -> None:
    """Raise `ValueError` unless the two texts are ids of one shape and nothing else was asked for."""
    if noised is None or noised.shape != clean.shape:
        got = None if noised is None else tuple(noised.shape)
        raise ValueError(f"clean has shape {tuple(clean.shape)}, the noised ids {got}: they must be the same")
    if any(other is not None for other in others):
        raise ValueError("clean= goes with ids alone: no attention_mask, kv, positions, position_ids, logits_to_keep")
