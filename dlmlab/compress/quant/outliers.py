"""LLM.int8(): the few channels with huge activations stay in floating point, the others are multiplied as int8.

    Y = X_O W_O^T + s_x s_w int8(X_rest) int8(W_rest)^T,      O = channels in which some token exceeds the threshold

Decisions
* The threshold of 6 is in activation units of models with billions of weights. A small model may never reach it:
  look at `share_above` first, and take `threshold_for` a share.
* Which channels are outliers is decided anew for every input, as published.

Source: Dettmers et al., arXiv 2208.07339, section 3.2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dlmlab.compress.quant.grids import quantize
from dlmlab.compress.quant.int8 import WEIGHT, linear8

PUBLISHED = 6.0


def outlier_channels(x: Tensor, threshold: float) -> Tensor:
    """Mark the channels of x (..., C) in which any token exceeds the threshold, (C,) bool.

    Raises `ValueError` for a threshold below 0 or nan.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold={threshold} must be >= 0 (infinity: no outliers)")
    return (x.reshape(-1, x.shape[-1]).abs() > threshold).any(0)


def share_above(abs_max: Tensor, thresholds: Sequence[float]) -> list[float]:
    """Share of channels whose largest activation, (C,), exceeds each threshold."""
    return [float((abs_max > t).double().mean()) for t in thresholds]


def threshold_for(abs_max: Tensor, share: float) -> float:
    """Find the threshold that a share of the channels exceeds. Raises `ValueError` for a share outside [0, 1].

    >>> threshold_for(torch.tensor([1.0, 2.0, 3.0, 9.0]), 0.25)
    3.0
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} is outside [0, 1]")
    above = int(round(share * len(abs_max)))
    ordered = torch.cat([abs_max.double().sort().values.flip(0), torch.zeros(1, dtype=torch.float64)])
    return float(ordered[above])


def decomposed(x: Tensor, W: Tensor, threshold: float = PUBLISHED) -> Tensor:
    """Multiply x (..., C) by W (R, C) with its outlier channels in floating point and the rest as int8, (..., R)."""
    out = outlier_channels(x, threshold)
    y = x[..., out] @ W[:, out].T
    if bool(out.all()):
        return y
    rest = quantize(W[:, ~out], WEIGHT)
    return y + linear8(x[..., ~out], rest.codes.to(torch.int8), rest.scale)


class DecomposedLinear(nn.Linear):
    """A linear layer without bias that multiplies by `decomposed`; its weights stay in floating point."""

    def __init__(self, weight: Tensor, threshold: float = PUBLISHED):
        super().__init__(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.weight, self.threshold = nn.Parameter(weight.detach()), threshold

    def forward(self, x: Tensor) -> Tensor:
        return decomposed(x, self.weight, self.threshold)
