"""The position pruning that circulates in summaries of Sink-Aware Pruning, written down as it is told.

    variance[j] = 1 - (how often position j receives the most attention)
    drop every position with variance[j] > threshold

The released code does nothing of this kind: it drops no position at inference and computes no variance. Beside it
stand two controls that drop as many positions: random ones and those that receive the least attention. A dropped
position is a key that no other query may see; that needs an attention mask and saves no time.

Two remarks on the formula. A position that never wins has the largest "variance" of all, so the rule keeps the sinks
and drops everything else. And the frequencies of all positions sum to 1, so at most one position can have a frequency
above one half.
"""

import torch
from torch import Tensor

from dlmlab.network.model import LLaDAModelLM


def win_frequency(sums: Tensor) -> Tensor:
    """How often each position receives the most attention, over layers, heads and states: (S, N, H, L) -> (L,)."""
    L = sums.shape[-1]
    return sums.reshape(-1, L).argmax(-1).bincount(minlength=L) / (sums.numel() // L)


def circulating_variance(sums: Tensor) -> Tensor:
    """The "sink variance" of the summaries, 1 - win frequency, (S, N, H, L) -> (L,)."""
    return 1 - win_frequency(sums)


def drop_as_told(sums: Tensor, threshold: float) -> Tensor:
    """Mark the positions whose variance exceeds the threshold, (L,) bool. Raises `ValueError` outside [0, 1]."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold} is outside [0, 1]")
    return circulating_variance(sums) > threshold


def drop_random(L: int, n: int, generator: torch.Generator) -> Tensor:
    """Mark n random positions of L, (L,) bool."""
    return torch.zeros(L, dtype=torch.bool).index_fill_(0, torch.randperm(L, generator=generator)[:n], True)


def drop_least_attended(sums: Tensor, n: int) -> Tensor:
    """Mark the n positions with the least attention in all, (S, N, H, L) -> (L,) bool."""
    total = sums.flatten(0, -2).sum(0)
    return torch.zeros_like(total, dtype=torch.bool).index_fill_(0, total.argsort(stable=True)[:n], True)


class Without:
    """A model whose queries do not see some positions; called like the model with one text, of L positions."""

    def __init__(self, model: LLaDAModelLM, dropped: Tensor):
        self.model, self.dropped = model, dropped
        self.config, self.device = model.config, model.device

    def __call__(self, ids: Tensor, attention_mask: Tensor | None = None, **options):
        if ids.shape[1] != len(self.dropped):
            raise ValueError(f"{len(self.dropped)} positions were judged, the text has {ids.shape[1]}")
        real = torch.ones_like(ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        return self.model(ids, real & ~self.dropped, **options)
