"""Nested weights: an ordinary 4-bit grid, and for every weight what is missing in sixteenths of its step, 4 bits more.

Without the second half it is the 4-bit model, with it an 8-bit one: one set of weights, two precisions.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from dlmlab.compress.quant import grids
from dlmlab.network.codes import QSpec, cells, values
from dlmlab.network.packed import Packed, pack, pack_bits, unpack, unpack_bits

NEST = 16  # steps of the fine grid in one of the coarse


@dataclass(frozen=True)
class Nested:
    """A matrix of 4 bits, `coarse`, and 4 more for each weight, `rest` (packed -8..7): w = s (q + rest / 16)."""

    coarse: Packed
    rest: Tensor

    @property
    def nbytes(self) -> int:
        return self.coarse.nbytes + self.rest.numel()

    def at(self, bits: int) -> Tensor:
        """Give the weights at 4 or at 8 bits, float32. Raises `ValueError` for another number."""
        if bits not in (4, 8):
            raise ValueError(f"bits={bits}: nested weights have 4 or 8")
        q = unpack(self.coarse)
        if bits == 4:
            return values(q)
        rest = unpack_bits(self.rest, 4, q.codes.numel()).view(q.shape) - 8
        zero = None if q.zero is None else NEST * q.zero
        return values(replace(q, codes=NEST * q.codes + rest, scale=q.scale.float() / NEST, zero=zero))


def nest(W: Tensor, spec: QSpec) -> Nested:
    """Put W on a 4-bit grid, and what is missing on sixteenths of its step.

    The fine grid has the step range/240 where one of its own would have range/255; half a step up is cut to 7/16.
    Raises `ValueError` for a spec that has not 4 bits, and as `grids.quantize`.
    """
    if spec.bits != 4 or spec.rounding != "nearest":
        raise ValueError(f"nested weights begin with 4 bits, rounded to the nearest; got {spec}")
    q = grids.quantize(W, spec)
    step = q.scale.float()[..., None] / NEST
    missing = cells(W.float() - values(q), spec) / step
    rest = missing.round().clamp(-NEST // 2, NEST // 2 - 1).reshape(W.shape).int()
    return Nested(pack(q), pack_bits(rest + NEST // 2, 4))
