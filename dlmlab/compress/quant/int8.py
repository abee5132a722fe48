"""Whole-number matrix products: int8 times int8, summed in int32, scaled afterwards.

    y = (q_x q_w^T) s_x s_w,      s_x one a token, made from the token itself;   s_w one a row, stored

Decisions
* `torch._int_mm` has no promise: where it exists, for which shapes, and whether it adds up right depends on version and
  processor. It is used after a probe with the largest sums; elsewhere float64 does the same sums exactly (every sum
  below 2^53 is a whole number there), so the result never depends on the machine.
* Softmax and attention stay in floating point, as in all published work on diffusion language models.

Source: Dettmers et al., LLM.int8(), arXiv 2208.07339, equation 3 (row-wise times column-wise scales).
"""

from functools import cache

import torch
from torch import Tensor, nn

from dlmlab.compress.quant.grids import quantize
from dlmlab.network.codes import QSpec, Quantized

WEIGHT = QSpec(8, symmetric=True, granularity="row", scale="fp32")
TOKEN = QSpec(8, symmetric=True, granularity="token", scale="fp32")


def exact_mm(a: Tensor, b: Tensor) -> Tensor:
    """Multiply int8 matrices (n, k) and (k, m) exactly through float64, (n, m) int32."""
    return (a.double() @ b.double()).to(torch.int32)


@cache
def available(device: str = "cpu") -> bool:
    """Say whether `torch._int_mm` runs on this kind of device and adds up right, the largest sums among them."""
    generator = torch.Generator().manual_seed(0)
    try:
        for n, k, m in ((32, 512, 64), (17, 192, 40)):
            a, b = (torch.randint(-128, 128, shape, generator=generator).to(torch.int8) for shape in ((n, k), (k, m)))
            a[0], b[:, 0] = 127, 127
            found = torch._int_mm(a.to(device), b.to(device)).cpu()
            if found.dtype != torch.int32 or not torch.equal(found, exact_mm(a, b)):
                return False
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    return True


def int_mm(a: Tensor, b: Tensor) -> Tensor:
    """Multiply int8 matrices (n, k) and (k, m), (n, m) int32: the same numbers with the kernel and without it."""
    if a.dtype != torch.int8 or b.dtype != torch.int8:
        raise ValueError(f"int_mm multiplies int8 matrices, got {a.dtype} and {b.dtype}")
    if available(a.device.type):
        try:
            return torch._int_mm(a, b)
        except RuntimeError:  # a shape that the kernel of a card does not take
            pass
    return exact_mm(a, b)


def linear8(x: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
    """Multiply x (..., C) by a matrix of int8 codes (R, C) with a scale a row (R, 1): (..., R), in the type of x."""
    q = quantize(x.reshape(-1, x.shape[-1]), TOKEN)
    total = int_mm(q.codes.to(torch.int8), codes.T)  # (n, R)
    return (total.float() * q.scale.float() * scale.float().T).to(x.dtype).view(*x.shape[:-1], -1)


class Int8Linear(nn.Module):
    """A linear layer of int8 weights that rounds its inputs token by token and multiplies whole numbers (W8A8)."""

    def __init__(self, weight: Quantized):
        super().__init__()
        if weight.spec.bits > 8 or not weight.spec.symmetric or weight.scale.shape != (weight.shape[0], 1):
            raise ValueError(f"int8 products need symmetric codes of at most 8 bits, a scale a row; got {weight.spec}")
        self.out_features, self.in_features = weight.shape
        self.register_buffer("codes", weight.check().codes.to(torch.int8))
        self.register_buffer("scale", weight.scale)

    @property
    def weight(self) -> Tensor:
        return self.codes.float() * self.scale.float()

    def forward(self, x: Tensor) -> Tensor:
        return linear8(x, self.codes, self.scale)
