"""Round to nearest: every weight by itself, no texts. What each other method must beat.

It is a function of (W, statistics, spec) like the others, so that methods can change places.
"""

import torch
from torch import Tensor

from dlmlab.compress.activations import Statistics
from dlmlab.compress.quant.grids import QSpec, Quantized, quantize


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
