"""AWQ: scale up the columns that meet large activations before rounding, so that their weights lose least.

    s_c = mean|X_c|^r,  scaled to  max(s) min(s) = 1,      r <- argmin | X (Q(W s) / s - W)^T |^2

Decisions
* No weight is moved to repair another (as in GPTQ): only the scale of columns is chosen, one number r for all matrices
  that read the same input. r = 0 is plain rounding and is among the choices, so AWQ is never worse on its texts.
* The error needs no texts: it is a trace with their second moments (`rtn.output_error`).
* The published search over clipped ranges comes after the scales (`clip`): the range of each cell is cut to the share
  that changes its part of the outputs least. That needs second moments inside a cell only. The released code leaves q
  and k alone; here every matrix is clipped.

Source: Lin et al., arXiv 2306.00978, equations 4 and 5; ratios 0, .05 .. .95, and ranges cut to 1, .95 .. .55 of
their size, as in the released code.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dlmlab.compress import activations
from dlmlab.compress.activations import Statistics
from dlmlab.compress.quant.folding import balance
from dlmlab.compress.quant.grids import GRID, fake_quantize
from dlmlab.compress.quant.rtn import output_error, rtn
from dlmlab.compress.registry import TEXTS, Method, Program, compress, register
from dlmlab.network import parts
from dlmlab.network.codes import QSpec, Quantized, cells
from dlmlab.network.model import LLaDAModelLM

RATIOS = tuple(i / 20 for i in range(20))
CUTS = tuple(1 - i / 20 for i in range(10))


@dataclass(frozen=True)
class Search:
    """The scales `s` (C,) that were best, their exponent `ratio`, and the relative output error of every ratio."""

    s: Tensor
    ratio: float
    errors: tuple[float, ...]


def column_scales(magnitude: Tensor, ratio: float) -> Tensor:
    """Turn the mean magnitude of each feature into scales, (C,) -> (C,); ratio 0 gives ones.

    >>> column_scales(torch.tensor([1.0, 16.0]), 0.5).tolist()
    [0.5, 2.0]
    """
    s = magnitude.double().pow(ratio).clamp(min=1e-4)
    return (s / (s.max() * s.min()).sqrt()).float()


@torch.no_grad()
def search(W: Tensor, statistics: Statistics, spec: QSpec) -> Search:
    """Choose the scales of the columns of W (R, C), all matrices that read this input stacked.

    Raises `ValueError` for statistics without second moments, and as `grids.quantize`.
    """
    gram = statistics.second_moments("the matrix")
    magnitude = statistics.abs_sum / statistics.tokens
    tried = [column_scales(magnitude, ratio) for ratio in RATIOS]
    errors = tuple(output_error(W, fake_quantize(W * s, spec) / s, gram) for s in tried)
    best = min(range(len(RATIOS)), key=errors.__getitem__)
    return Search(tried[best], RATIOS[best], errors)


def awq(
    model: LLaDAModelLM, statistics: dict[str, Statistics], spec: QSpec, *, sites: tuple[str, ...] = tuple(parts.MAKERS)
) -> tuple[LLaDAModelLM, dict[str, Statistics]]:
    """Return a copy of the model, its scales folded in, ready to be rounded, and its statistics.

    `statistics` need second moments (`activations.collect(model, calib, gram=True)`). Before rounding its logits are
    those of the model.
    """
    return balance(model, statistics, lambda W, found: search(W, found, spec).s, sites)


@torch.no_grad()
def clip(W: Tensor, statistics: Statistics, spec: QSpec) -> Tensor:
    """Cut the weights of each cell of W (R, C) to the range whose rounding changes its outputs least, (R, C).

    The error of a cell is d^T G d, with d what rounding changes and G the second moments of its columns, so the whole
    range is among the choices. Raises `ValueError` for one scale for the whole tensor, statistics without second
    moments, and as `grids.quantize`.
    """
    if spec.granularity == "tensor":
        raise ValueError("clip: each row must have a scale of its own, granularity='tensor' has one for all")
    gram, old = statistics.second_moments("the matrix"), cells(W, spec)  # (R, n, g)
    n, g = old.shape[1:]
    G = torch.stack([gram[i * g : (i + 1) * g, i * g : (i + 1) * g] for i in range(n)])  # (n, g, g)
    top, best, out = old.abs().amax(-1, keepdim=True), torch.inf, old
    for share in CUTS:
        cut = old.clamp(-share * top, share * top)
        d = (cells(fake_quantize(cut.reshape(W.shape), spec), spec) - old).double()
        error = torch.einsum("rng,ngh,rnh->rn", d, G, d)[..., None]
        better = error < best  # of equal errors the wider range
        best, out = torch.where(better, error, best), torch.where(better, cut, out)
    return out.reshape(W.shape)


def _clipped(W: Tensor, statistics: Statistics, spec: QSpec, generator: torch.Generator | None) -> Quantized:
    return rtn(clip(W, statistics, spec), None, spec, generator=generator)


def run(model: LLaDAModelLM, texts, *, options: QSpec, packed: bool = False) -> LLaDAModelLM:
    """Fold the scales, cut the ranges, round: AWQ as published, from texts to a quantized model."""
    new, found = awq(model, activations.collect(model, texts.states(model), gram=True), options)
    return compress(new, "clip", options, statistics=found, sequential=False, packed=packed)


register(Method("clip", "gram", _clipped, uses=GRID, family="quantize", options=QSpec))
register(Program("awq", run, uses=(*GRID, *TEXTS), family="quantize", options=QSpec))
