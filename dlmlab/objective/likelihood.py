"""Exact -log p of a text under a causal model: one token after the other, each given what stands before it.

The bounds of a diffusion model are in `dlmlab.noise`. Which tokens count is the caller's choice, a mask of the shape of
the ids; an answer counts up to its first end mark, which says how long it is.
"""

from collections.abc import Callable

import torch
from torch import Tensor


@torch.inference_mode()
def next_token_nats(model: Callable, x0: Tensor, valid: Tensor | None = None) -> Tensor:
    """Compute -log p(token i + 1 | tokens 0..i) of every token but the first, in nats, (B, L - 1).

    `model` is causal. `valid` (B, L) bool hides padding; it is not needed where padding stands on the right. Sum what
    counts: `(next_token_nats(model, x0) * counts[:, 1:]).sum(1)`.
    """
    log_p = model(x0, valid).logits[:, :-1].log_softmax(-1)  # (B, L - 1, V)
    return -log_p.gather(-1, x0[:, 1:, None])[..., 0]


def up_to_end(x0: Tensor, answer: Tensor, eos_id: int) -> Tensor:
    """Mark the answer with its first end mark, without those that only fill the row, (B, L) bool.

    Shapes: x0 (B, L) ids, answer (B, L) bool.

    >>> up_to_end(torch.tensor([[5, 7, 0, 0]]), torch.tensor([[False, True, True, True]]), eos_id=0).tolist()
    [[False, True, True, False]]
    """
    ends = (answer & (x0 == eos_id)).cumsum(1)
    return answer & ((ends == 0) | ((ends == 1) & (x0 == eos_id)))
