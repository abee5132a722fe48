"""Round to nearest: every weight by itself, no texts. What each other method must beat.

It is a function of (W, statistics, spec) like the others, so that methods can change places.
Ternary is the same on the grid of three levels.
"""

from dataclasses import replace

import torch
from torch import Tensor

from dlmlab.compress.activations import Statistics
from dlmlab.compress.quant.grids import GRID, quantize
from dlmlab.compress.registry import Method, register
from dlmlab.network.codes import TERNARY, QSpec, Quantized


def rtn(
    W: Tensor, statistics: Statistics | None, spec: QSpec, *, generator: torch.Generator | None = None
) -> Quantized:
    """Round a matrix W (R, C) to its grid; the statistics are not looked at. Raises `ValueError` as `quantize`."""
    return quantize(W, spec, generator=generator)


def output_error(W: Tensor, new: Tensor, gram: Tensor) -> float:
    """Error of the outputs on the calibration texts, relative: |X (W - W')^T|^2 / |X W^T|^2 from gram = X^T X.

    Shapes: W, new (R, C), gram (C, C). It needs no texts: |X D^T|^2 is the sum of (D gram) * D.
    """
    D, W, gram = W.double() - new.double(), W.double(), gram.double()
    return float(((D @ gram) * D).sum() / ((W @ gram) * W).sum())


def _apply(W: Tensor, statistics: Statistics | None, spec: QSpec, generator: torch.Generator | None) -> Quantized:
    return rtn(W, statistics, spec, generator=generator)


def _ternary(W: Tensor, statistics: Statistics | None, spec: QSpec, generator: torch.Generator | None) -> Quantized:
    if spec.codes != TERNARY.codes:
        raise ValueError(f"ternary has the codes -1, 0 and 1, these options have {spec.codes[0]}..{spec.codes[1]}")
    return rtn(W, statistics, spec, generator=generator)


def _three_levels(group: int | None = None) -> QSpec:
    return replace(TERNARY, group=group)


register(Method("rtn", None, _apply, uses=GRID, family="quantize", options=QSpec))
register(Method("ternary", None, _ternary, uses=("group",), family="quantize", options=_three_levels))
