"""Pruning that knows the noise level: does one mask serve all times, and what would two cost?

Decisions
* First measure whether there is anything to adapt to: masks made at two levels may differ only because their texts do.
  The floor is the agreement of two masks made at one level from two halves of the texts.
* Two masks are two pruned models and a switch: rows whose share of masks is above `tau` go through one, the others
  through the other. In memory that costs the union of the kept weights and one bit a weight and mask.
* The robust statistic takes the worst case over levels, after each level was scaled to a mean of 1; the weighted one
  is a token weight that depends on the level.

No published method prunes a text diffusion model by time step; these are this course's readings of the idea.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM, LLaDAOutput


def jaccard(a: Tensor, b: Tensor) -> float:
    """Jaccard index of two masks of removed weights, bool of one shape: removed by both / removed by either.

    1 when neither removes any. Weights that both keep do not count: at low sparsity they would make all masks agree.
    """
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else 1.0


def removed_agreement(a: nn.Module, b: nn.Module) -> float:
    """Jaccard index of the weights that two pruned models lack, over all matrices together."""
    return jaccard(*(torch.cat([(W == 0).flatten() for W in parts.weights(model).values()]) for model in (a, b)))


def robust(statistics: Sequence[dict[str, Statistics]]) -> dict[str, Statistics]:
    """Take the largest squared norm of each feature over levels, every level scaled to a mean of 1 per matrix.

    A level at which a matrix reads only zeros has no say.
    """

    def worst(name: str) -> Statistics:
        sums = [s[name].sum_sq for s in statistics]
        scaled = [s / s.mean() if bool(s.any()) else s for s in sums]
        first = statistics[0][name]
        return Statistics(torch.stack(scaled).amax(0), first.sum_norm, first.abs_sum, first.abs_max, None, 1, 1)

    return {name: worst(name) for name in statistics[0]}


def time_weights(calib: CalibrationSet, weight: Callable[[Tensor], Tensor]) -> Tensor:
    """Weigh every token of a state by a function of its level, (N, L): the statistic becomes sum_t w(t) E |X_t|^2."""
    return weight(calib.t).sqrt()[:, None] * calib.real


class Switched:
    """Two pruned models as one: rows with a share of masks above `tau` in the answer go through `noisy`.

    Called like a model. The share is counted over the last `answer_length` real positions. Raises `ValueError` for a
    `tau` outside [0, 1].
    """

    def __init__(self, noisy: LLaDAModelLM, clean: LLaDAModelLM, *, tau: float, answer_length: int = ANSWER_LENGTH):
        if not 0 <= tau <= 1:
            raise ValueError(f"tau={tau} is outside [0, 1]")
        self.noisy, self.clean, self.tau, self.answer_length = noisy, clean, tau, answer_length
        self.config, self.device = noisy.config, noisy.device

    def __call__(self, ids: Tensor, attention_mask: Tensor | None = None, **options) -> LLaDAOutput:
        mask = torch.ones_like(ids) if attention_mask is None else attention_mask
        share = ((ids == self.config.mask_token_id) & mask.bool()).sum(1) / self.answer_length  # (B,)
        logits = None  # (B, L, V), or as many positions as `options` ask for
        for model, rows in ((self.noisy, share > self.tau), (self.clean, share <= self.tau)):
            if bool(rows.any()):
                valid = None if attention_mask is None else attention_mask[rows]
                part = model(ids[rows], valid, **options).logits
                logits = part.new_empty(len(ids), *part.shape[1:]) if logits is None else logits
                logits[rows] = part
        return LLaDAOutput(logits=logits)


def union_bytes(models: Sequence[LLaDAModelLM]) -> int:
    """Count the bytes of several pruned models in one: dense remainder, union of kept weights, a bit for each mask."""
    total = sum(p.numel() * p.element_size() for p in models[0].parameters())
    for matrices in zip(*(parts.weights(m).values() for m in models), strict=True):
        kept = int(torch.stack([W != 0 for W in matrices]).any(0).sum())
        total -= matrices[0].numel() * matrices[0].element_size()
        total += kept * matrices[0].element_size() + len(matrices) * -(-matrices[0].numel() // 8)
    return total
