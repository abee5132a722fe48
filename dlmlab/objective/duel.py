"""Exact -log p of a text under a masked model that chooses its places by a rule: the DUEL score.

A rule that looks only at the distributions of the masked places, and breaks ties in a fixed way, makes the order a
function of what has been revealed. Then every text is written in exactly one way, and its probability is a product of n
conditionals: n forwards, no draws, no sum over orders.

Decisions
* The place is chosen from the distributions alone. A rule that knows the token to come, or that depends on a draw,
  does not define a distribution over texts: its products need not sum to 1.
* What is revealed is the token of the text, not the favourite of the model.
* The place is chosen in float64, rounded to 9 digits and then from the left, so that ties fall alike on every machine.

Source: DUEL, arXiv 2603.01367.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def left_to_right(p: Tensor) -> Tensor:
    """Prefer the place further left, (B, L)."""
    return -torch.arange(p.shape[1], dtype=torch.float64).expand(p.shape[:2])


def surest(p: Tensor) -> Tensor:
    """Prefer the place whose most probable token is most probable, (B, L)."""
    return p.amax(-1)


def margin(p: Tensor) -> Tensor:
    """Prefer the place where the two most probable tokens are furthest apart, (B, L)."""
    best = p.topk(2, -1).values
    return best[..., 0] - best[..., 1]


def entropy(p: Tensor) -> Tensor:
    """Prefer the place of the lowest entropy, (B, L)."""
    return -torch.special.entr(p).sum(-1)


DIGITS = 1e9  # of a score that count: what differs by rounding alone is a tie
RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "left to right": left_to_right,
    "surest first": surest,
    "widest margin first": margin,
    "lowest entropy first": entropy,
}


def duel_nats(
    denoise: Callable[[Tensor], Tensor], x0: Tensor, maskable: Tensor, mask_id: int, *, rule: Callable
) -> Tensor:
    """Compute -log p(maskable tokens | the others) under the order that `rule` makes, in nats per row, (B,) float64.

    `denoise(ids (B, L))` -> logits (B, L, V). Shapes: x0 (B, L), maskable (B, L) bool with as many True in every row.
    `rule(p (B, L, V))` -> scores (B, L); the masked place with the highest one is next, of equal ones the leftmost.
    The mask has no probability. Costs one forward for each maskable token; no gradient. Raises `ValueError` for rows
    with different counts.
    """
    counts = maskable.sum(1)
    if not bool((counts == counts[0]).all()):
        raise ValueError(f"rows must have equally many maskable tokens, got {sorted(set(counts.tolist()))}")
    rows, masked, total = torch.arange(len(x0)), maskable.clone(), torch.zeros(len(x0), dtype=torch.float64)
    for _ in range(int(counts[0])):
        with torch.no_grad():
            logits = denoise(torch.where(masked, mask_id, x0)).double()
        p = logits.index_fill(-1, torch.tensor([mask_id]), -torch.inf).softmax(-1)  # (B, L, V)
        score = (rule(p).double() * DIGITS).round() / DIGITS
        at = score.masked_fill(~masked, -torch.inf).argmax(-1)  # (B,)
        total -= p[rows, at, x0[rows, at]].log()
        masked[rows, at] = False
    return total
