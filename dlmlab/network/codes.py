"""What codes mean: a spec, whole numbers on it, and the numbers that they stand for.

    symmetric    w' = s q          q in -(2^(b-1)-1)..2^(b-1)-1
    asymmetric   w' = s (q - z)    q in 0..2^b-1

Decisions
* A cell is what shares a scale: the whole tensor, a row (an output channel of a weight, a token of an activation), or
  `group` neighbours within a row.
* This is all that reading a quantized model needs. How the codes are chosen is a matter of compression
  (`dlmlab.compress.quant.grids`), of which a checkpoint knows nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dlmlab import limits

GRANULARITIES = ("tensor", "row", "token")
ROUNDINGS = ("nearest", "stochastic", "floor")
RANGES = ("minmax", "mse", "mean")
SCALES = {"fp16": torch.float16, "fp32": torch.float32}
NAMES = {"granularity": GRANULARITIES, "rounding": ROUNDINGS, "range": RANGES, "scale": tuple(SCALES)}


@dataclass(frozen=True)
class QSpec:
    """How numbers become codes: `bits` 1..16; `symmetric` or with a zero point; `granularity` tensor, row (of a weight)
    or token (of an activation: the same cells, made anew for every input); `group` neighbours of a row that share a
    scale, None for the whole row; `rounding` nearest (ties to even), stochastic, or floor (the naive control); `range`
    minmax, mse (shrunk to the least squared error) or mean (ternary); `scale` stored as fp16 or fp32."""

    bits: int
    symmetric: bool = False
    granularity: str = "row"
    group: int | None = None
    rounding: str = "nearest"
    range: str = "minmax"
    scale: str = "fp16"

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= 16:
            raise ValueError(f"bits={self.bits!r} must be a whole number from 1 to 16")
        limits.switch("symmetric", self.symmetric)
        for name, known in NAMES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; known: {', '.join(known)}")
        if self.symmetric and self.bits == 1:
            raise ValueError("bits=1 with symmetric=True has the code 0 alone: take symmetric=False, or TERNARY")
        if self.range == "mean" and not (self.symmetric and self.bits == 2):
            raise ValueError(f"range='mean' is the ternary grid: it needs bits=2 and symmetric=True, got {self.bits}")
        if self.group is not None:
            if isinstance(self.group, bool) or not isinstance(self.group, int) or self.group < 1:
                raise ValueError(f"group={self.group!r} must be a whole number >= 1 or None")
            if self.granularity == "tensor":
                raise ValueError(f"group={self.group} cuts rows: granularity must be row or token, not tensor")

    @property
    def codes(self) -> tuple[int, int]:
        """The lowest and the highest code.

        >>> QSpec(4).codes, QSpec(4, symmetric=True).codes
        ((0, 15), (-7, 7))
        """
        top = 2 ** (self.bits - 1) - 1 if self.symmetric else 2**self.bits - 1
        return (-top, top) if self.symmetric else (0, top)

    @property
    def code_bits(self) -> float:
        """Bits that a code takes when packed (`dlmlab.network.packed`): three levels go five to a byte."""
        return 1.6 if self.codes == (-1, 1) else self.bits


TERNARY = QSpec(2, symmetric=True, range="mean")


@dataclass(frozen=True)
class Quantized:
    """A tensor as `codes` (its shape, int32), `scale` and `zero` one a cell (None when symmetric), on a `spec`."""

    codes: Tensor
    scale: Tensor
    zero: Tensor | None
    spec: QSpec
    shape: tuple[int, ...]

    @property
    def bits(self) -> float:
        """Bits a weight in storage, scales and zero points counted: 4.15625 for 4 bits in groups of 128."""
        a_cell = 8 * self.scale.element_size() + (0 if self.zero is None else self.spec.bits)
        return self.spec.code_bits + a_cell * self.scale.numel() / self.codes.numel()

    def check(self) -> "Quantized":
        """Raise `ValueError` for a damaged scale, and for codes or zero points that the spec does not have."""
        scale, (lowest, highest) = self.scale.float(), self.spec.codes
        for bad, what in ((~scale.isfinite(), "nan or inf"), (scale == 0, "0"), (scale < 0, "a negative number")):
            if bool(bad.any()):
                raise ValueError(f"damaged scale: {int(bad.sum())} of {scale.numel()} hold {what}; each must be > 0")
        if tuple(self.codes.shape) != tuple(self.shape) or scale.shape != scale_shape(self.shape, self.spec):
            raise ValueError(
                f"codes {tuple(self.codes.shape)} with scales {tuple(scale.shape)} do not fit shape "
                f"{tuple(self.shape)}, which has scales {scale_shape(self.shape, self.spec)}"
            )
        if (self.zero is None) != self.spec.symmetric or (self.zero is not None and self.zero.shape != scale.shape):
            raise ValueError("damaged zero point: one a scale when asymmetric, none when symmetric")
        for name, found in (("code", self.codes), ("zero point", self.zero)):
            if found is not None and found.numel() and not lowest <= int(found.min()) <= int(found.max()) <= highest:
                raise ValueError(f"damaged {name}: {int(found.min())}..{int(found.max())}, not {lowest}..{highest}")
        return self


def cells(x: Tensor, spec: QSpec) -> Tensor:
    """View a tensor (..., C) as cells that share a scale, (..., C/g, g); the whole tensor as (1, 1, n).

    Raises `ValueError` when the group does not divide C.
    """
    if spec.granularity == "tensor":
        return x.reshape(1, 1, -1)
    if spec.group is not None and x.shape[-1] % spec.group:
        raise ValueError(f"group={spec.group} does not divide the {x.shape[-1]} columns")
    return x.unflatten(-1, (-1, spec.group or x.shape[-1]))


def scale_shape(shape: tuple[int, ...], spec: QSpec) -> tuple[int, ...]:
    """Give the shape of the scales of a tensor. Raises `ValueError` as `cells`."""
    return tuple(cells(torch.empty(shape, device="meta"), spec).shape[:-1])


def decode(codes: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """Give the numbers that codes stand for, float32, on grids that broadcast against them."""
    return (codes if zero is None else codes - zero).float() * scale.float()


def dequantize(q: Quantized) -> Tensor:
    """Give back the numbers of a quantized tensor, float32. Raises `ValueError` as `Quantized.check`."""
    return values(q.check())


def values(q: Quantized) -> Tensor:
    """As `dequantize`, for a tensor that was checked before."""
    zero = None if q.zero is None else q.zero[..., None]
    return decode(cells(q.codes, q.spec), q.scale[..., None], zero).reshape(q.shape)
