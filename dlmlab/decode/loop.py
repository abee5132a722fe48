"""The reverse loop in its shortest form: predict everything, commit some, repeat. Exercise 1.6 writes it.

Decisions
* Two functions are plugged in: `denoise` (ids -> logits) and `commit` (scores -> which positions become tokens), of the
  signature of `dlmlab.commit.threshold_commit`. A rule of one's own is one function.
* No padding, no blocks, no cache, nothing saved: `dlmlab.sampling` is the loop for work, and tests hold the two
  against each other.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.decode.commit import NEG_INF
from dlmlab.decode.sampling import gumbel_argmax


def propose(
    logits: Tensor, temperature: float, generator: torch.Generator | None, mask_id: int
) -> tuple[Tensor, Tensor]:
    """Propose a token for every position, never the mask, and say how probable it is: tokens and confidence, (B, L).

    The token is drawn from softmax(logits / temperature), the confidence is its probability in softmax(logits), both
    without the mask: noise may choose a token, it must not make it look sure. Shapes: logits (B, L, V).
    """
    logits = logits.index_fill(-1, torch.tensor(mask_id, device=logits.device), NEG_INF)
    tokens = gumbel_argmax(logits, temperature, generator)
    return tokens, logits.softmax(-1).gather(-1, tokens[..., None])[..., 0]


def reverse_loop(
    denoise: Callable[[Tensor], Tensor], x: Tensor, commit: Callable[[Tensor, Tensor], Tensor], mask_id: int
) -> tuple[Tensor, Tensor]:
    """Fill every mask of `x` (B, L): propose the most probable token everywhere, commit what the rule takes, repeat.

    `denoise(x)` gives logits (B, L, V); `commit(score, eligible)` -> (B, L) bool is given the confidence of the
    proposals and where a mask stands. What is no mask stays, whatever the rule says. Returns the filled ids (B, L) and
    how many forwards each row took part in with a mask, (B,). At most as many forwards as there are masks: raises
    `ValueError` when a forward commits nothing.
    """
    x, forwards = x.clone(), torch.zeros(len(x), dtype=torch.long, device=x.device)
    while bool((eligible := x == mask_id).any()):
        tokens, confidence = propose(denoise(x), 0.0, None, mask_id)
        take = commit(confidence, eligible) & eligible
        if not bool(take.any()):
            raise ValueError(f"the rule committed nothing, {int(eligible.sum())} masks are left: the loop never ends")
        x = torch.where(take, tokens, x)
        forwards += eligible.any(1)
    return x, forwards
