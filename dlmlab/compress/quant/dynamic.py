"""int8 with the kernels that PyTorch has for whole models on a CPU: weights are rounded once, inputs at every call.

    y = s_x s_w (q_x - z_x) q_w^T + x_O W_O^T,      O = input columns that stay in floating point, often none

Decisions
* The kernel lays one grid for all tokens of a call, so what a text gets depends on its company: the price of its speed.
  Weights have a scale a row, which costs no time.
* Columns in floating point are chosen once, by the texts of a calibration: LLM.int8() looks for them at every call, and
  a CPU would pay for that at every call.
* Without VNNI, x86 adds up two products in 16 bits, which may not hold them: inputs then get 7 bits, as PyTorch gives
  them everywhere. With VNNI they get 8.
* PyTorch hides what a product holds; `nbytes` counts codes, scales and float columns.

Sources: `torch.ops.quantized.linear_dynamic` (FBGEMM, oneDNN); the columns: Dettmers et al., arXiv 2208.07339.
"""

import copy
import platform
import warnings
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from dlmlab.compress.activations import Statistics
from dlmlab.compress.quant.grids import quantize
from dlmlab.compress.quant.int8 import WEIGHT
from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM
from dlmlab.network.packed import check_dense, replace

Columns = Tensor | None  # (n,) indices of the inputs that stay in floating point


@cache
def available() -> bool:
    """Say whether this PyTorch has a kernel here that takes a scale a row."""
    try:
        layer = DynamicLinear(torch.eye(8))
        return layer(torch.ones(2, 8)).shape == (2, 8)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


def sums_may_overflow() -> bool:
    """Say whether products of 8 by 8 bits are added up in too few bits here: x86 without VNNI."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return x86 and not torch.cpu._is_vnni_supported()


class DynamicLinear(nn.Module):
    """A linear layer without bias of int8 weights (R, C), which rounds its inputs (..., C) at every call: (..., R).

    `columns`: inputs that are multiplied in floating point, (n,) indices. Raises `ValueError` for indices outside
    0..C - 1, twice the same, or all of them.
    """

    def __init__(self, weight: Tensor, columns: Columns = None):
        super().__init__()
        W = weight.detach().float()
        (self.out_features, self.in_features), self.few = W.shape, sums_may_overflow()
        self.split = columns is not None and len(columns) > 0
        if self.split:
            out = torch.zeros(self.in_features, dtype=torch.bool)
            if not 0 <= int(columns.min()) <= int(columns.max()) < len(out):
                raise ValueError(f"columns {columns.tolist()} must lie in 0..{len(out) - 1}")
            out[columns] = True
            if int(out.sum()) != len(columns) or bool(out.all()):
                raise ValueError(f"{len(columns)} columns of {len(out)}: none twice, and at least one must be rounded")
            self.register_buffer("columns", out.nonzero()[:, 0])
            self.register_buffer("rest", (~out).nonzero()[:, 0])
            self.register_buffer("weight", W[:, out].contiguous())  # (R, n)
            W = W[:, ~out]
        q = quantize(W.contiguous(), WEIGHT)
        codes, scale = q.codes.to(torch.int8), q.scale.flatten().double()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch announces that tensors of this kind will go
            rows = torch._make_per_channel_quantized_tensor(codes, scale, torch.zeros_like(scale).long(), 0)
        self.product = torch.ops.quantized.linear_prepack(rows, None)

    @property
    def nbytes(self) -> int:
        kept = self.weight.numel() if self.split else 0
        return self.out_features * (self.in_features + 4) + (4 - 1) * kept

    def forward(self, x: Tensor) -> Tensor:
        if not self.split:
            return torch.ops.quantized.linear_dynamic(x, self.product, self.few)
        y = torch.ops.quantized.linear_dynamic(x.index_select(-1, self.rest), self.product, self.few)
        return y + nn.functional.linear(x.index_select(-1, self.columns), self.weight)


def largest(statistics: dict[str, Statistics], share: float) -> Callable[[str], Tensor]:
    """Return a function that names the columns of a matrix whose inputs got largest in the texts: this share of them.

    Matrices that read one input have the same columns. Raises `ValueError` for a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"share={share} is outside [0, 1)")

    def columns(name: str) -> Tensor:
        size = statistics[name].abs_max
        return size.argsort(descending=True, stable=True)[: round(share * len(size))]

    return columns


@torch.no_grad()
def quantized(
    model: LLaDAModelLM,
    *,
    only: Callable[[str], bool] = lambda name: True,
    columns: Callable[[str], Columns] = lambda name: None,
) -> LLaDAModelLM:
    """Return a copy of a model whose matrices are `DynamicLinear`, those of its blocks that `only` takes and the head.

    `only` and `columns` read names as `parts.weights` gives them; the head is `head`, and never split.
    """
    model = copy.deepcopy(check_dense(model))
    for layer, block in enumerate(parts.blocks(model)):
        for path, matrix in parts.matrices(block).items():
            name = f"blocks.{layer}.{path}"
            if only(name):
                replace(block, path, DynamicLinear(matrix.weight, columns(name)))
    if only("head"):
        model.set_output_embeddings(DynamicLinear(model.get_output_embeddings().weight))
    return model
