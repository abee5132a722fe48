"""SmoothQuant: move the difficulty from activations, which have outlier channels, to weights, which have none.

    s_c = max|X_c|^a / max|W_:c|^(1 - a),      x' = x / s,      W' = W diag(s)

Decisions
* Made for 8-bit weights *and* activations: at a = 0.5 both sides end up with equal largest values in each channel.
* As published only inputs that come from a norm are smoothed (q, k, v; gate, up). The input of the last matrix of a
  block, where diffusion models have their outliers, is not; `sites` can name it, its producer is linear too.

Source: Xiao et al., arXiv 2211.10438, equation 4.
"""

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.compress import activations
from dlmlab.compress.activations import Statistics
from dlmlab.compress.quant.folding import balance
from dlmlab.compress.quant.grids import GRID
from dlmlab.compress.registry import TEXTS, Program, compress, register
from dlmlab.network import parts
from dlmlab.network.codes import QSpec
from dlmlab.network.model import LLaDAModelLM

SMALLEST = 1e-5


@torch.no_grad()
def migration(W: Tensor, abs_max: Tensor, alpha: float = 0.5) -> Tensor:
    """Give the scales of the columns of W (R, C) whose inputs reach `abs_max` (C,); (C,).

    alpha = 1 makes all activations equally large, 0 all weights. Raises `ValueError` for an alpha outside [0, 1].

    >>> migration(torch.tensor([[1.0, 1.0]]), torch.tensor([4.0, 1.0])).tolist()
    [2.0, 1.0]
    """
    limits.number("alpha", alpha, 0, 1)
    w = W.abs().amax(0).double().clamp(min=SMALLEST)
    return (abs_max.double().pow(alpha) / w.pow(1 - alpha)).clamp(min=SMALLEST).float()


def smooth(
    model: LLaDAModelLM, statistics: dict[str, Statistics], alpha: float = 0.5, *, sites: tuple[str, ...] = parts.NORMED
) -> tuple[LLaDAModelLM, dict[str, Statistics]]:
    """Return a copy of the model whose inputs are smoothed, and its statistics. Its logits are those of the model."""
    return balance(model, statistics, lambda W, found: migration(W, found.abs_max, alpha), sites)


def run(model: LLaDAModelLM, texts, *, options: QSpec, packed: bool = False) -> LLaDAModelLM:
    """Smooth, then round to nearest; only the weights are rounded, which are made harder by it."""
    new, _ = smooth(model, activations.collect(model, texts.states(model)))
    return compress(new, "rtn", options, packed=packed)


register(Program("smooth", run, uses=(*GRID, *TEXTS), family="quantize", options=QSpec))
