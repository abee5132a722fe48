"""Grids: numbers become whole-number codes, and a scale says how far apart the codes lie.

    symmetric    s = max|w| / (2^(b-1) - 1)     q = clamp(round(w / s))          w' = s q          q in -(2^(b-1)-1)..
    asymmetric   s = (max - min) / (2^b - 1)    q = clamp(round(w / s) + z)      w' = s (q - z)    q in 0..2^b-1
                 z = round(-min / s)

Decisions
* Every grid holds the number 0: the range of an asymmetric grid is widened to it, so a pruned weight stays 0.
* The scale is rounded to its stored type *before* it is used, and upwards: what is computed is what is stored, and no
  weight of the range is clipped by the rounding. A cell of zeros has the scale 1.
* A cell is what shares a scale: the whole tensor, a row (an output channel of a weight, a token of an activation), or
  `group` neighbours within a row.
* Ternary is the symmetric grid of 2 bits with the mean of |w| as scale; with the maximum almost all weights become 0.

Sources: Jacob et al., arXiv 1712.05877 (affine grids); Ma et al., arXiv 2402.17764 (ternary, absmean); Frantar et al.,
GPTQ, arXiv 2210.17323, released code (search over shrunk ranges); Gupta et al., arXiv 1502.02551 (stochastic rounding).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

GRANULARITIES = ("tensor", "row", "token")
ROUNDINGS = ("nearest", "stochastic", "floor")
RANGES = ("minmax", "mse", "mean")
SCALES = {"fp16": torch.float16, "fp32": torch.float32}
SHRINK = tuple(1 - i / 50 for i in range(41))  # the ranges that "mse" tries, 1 down to 0.2


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
        for name, known in (("granularity", GRANULARITIES), ("rounding", ROUNDINGS), ("range", RANGES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; known: {', '.join(known)}")
        if self.scale not in SCALES:
            raise ValueError(f"scale={self.scale!r} is unknown; known: {', '.join(SCALES)}")
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
        """Bits that a code takes when packed (`pack`): three levels go five to a byte."""
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
        """Bits a weight in storage, scales and zero points counted.

        >>> quantize(torch.randn(2, 128), QSpec(4, group=128)).bits
        4.15625
        """
        a_cell = 8 * self.scale.element_size() + (0 if self.zero is None else self.spec.bits)
        return self.spec.code_bits + a_cell * self.scale.numel() / self.codes.numel()

    def check(self) -> "Quantized":
        """Raise `ValueError` for a damaged scale, and for codes or zero points that the spec does not have."""
        scale, (lowest, highest) = self.scale.float(), self.spec.codes
        for bad, what in ((~scale.isfinite(), "nan or inf"), (scale == 0, "0"), (scale < 0, "a negative number")):
            if bool(bad.any()):
                raise ValueError(f"damaged scale: {int(bad.sum())} of {scale.numel()} hold {what}; each must be > 0")
        if tuple(self.codes.shape) != tuple(self.shape) or scale.shape != _scale_shape(self.shape, self.spec):
            raise ValueError(
                f"codes {tuple(self.codes.shape)} with scales {tuple(scale.shape)} do not fit shape "
                f"{tuple(self.shape)}, which has scales {_scale_shape(self.shape, self.spec)}"
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


def _scale_shape(shape: tuple[int, ...], spec: QSpec) -> tuple[int, ...]:
    return tuple(cells(torch.empty(shape, device="meta"), spec).shape[:-1])


def fit(x: Tensor, spec: QSpec) -> tuple[Tensor, Tensor | None]:
    """Lay the grid of each cell of x: scale in its stored type and zero point int32 (or None), one a cell.

    Raises `ValueError` for nan or inf, and for a scale that its type cannot hold.
    """
    if not x.is_floating_point() or not x.numel():
        raise ValueError(f"only floating-point tensors with entries can be quantized, got {x.dtype} {tuple(x.shape)}")
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{int((~torch.isfinite(x)).sum())} of {x.numel()} weights are nan or inf")
    parts = cells(x, spec)
    if spec.range == "mean":
        return stored(parts.abs().mean(-1), spec), None
    low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
    scale, zero = lay(low, high, spec)
    if spec.range == "minmax":
        return scale, zero
    best = torch.full(low.shape, torch.inf, dtype=torch.float64, device=x.device)
    for share in SHRINK:
        s, z = lay(share * low, share * high, spec)
        codes = encode(parts, s[..., None], None if z is None else z[..., None], spec, nearest=True)
        error = (decode(codes, s[..., None], None if z is None else z[..., None]) - parts).double().square().sum(-1)
        better = error < best  # of equal errors the wider range
        best, scale = torch.where(better, error, best), torch.where(better, s, scale)
        zero = None if z is None else torch.where(better, z, zero)
    return scale, zero


def lay(low: Tensor, high: Tensor, spec: QSpec) -> tuple[Tensor, Tensor | None]:
    """Lay grids from `low` <= 0 to `high` >= 0, of any shape: scale in its stored type, zero point int32 or None."""
    top = spec.codes[1]
    if spec.symmetric:
        return stored(torch.maximum(-low, high) / top, spec), None
    scale = stored((high - low) / top, spec)
    return scale, (-low / scale.to(low.dtype)).round().clamp(0, top).int()


def stored(scale: Tensor, spec: QSpec) -> Tensor:
    """Round scales up to the stored type; 1 where the cell is all zeros."""
    stored = torch.where(scale == 0, 1.0, scale).to(SCALES[spec.scale])
    if not bool(torch.isfinite(stored).all()):
        raise ValueError(f"a scale of {float(scale.max()):.3g} does not fit {spec.scale}: take scale='fp32'")
    bits = stored.view(torch.int16 if spec.scale == "fp16" else torch.int32)
    above = (bits + 1).view(stored.dtype)  # the next larger number of the type
    return torch.where(stored.to(scale.dtype) < scale, above, stored)


def encode(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    spec: QSpec,
    *,
    nearest: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Give the codes of x on grids that broadcast against it, int32. `nearest` overrules the rounding of the spec."""
    y, rounding = x / scale.to(x.dtype), "nearest" if nearest else spec.rounding
    if rounding == "stochastic":
        if generator is None:
            raise ValueError("stochastic rounding needs generator=torch.Generator().manual_seed(...)")
        y = (y + torch.rand(y.shape, generator=generator, dtype=y.dtype).to(y.device)).floor()
    else:
        y = y.round() if rounding == "nearest" else y.floor()
    return (y if zero is None else y + zero).clamp(*spec.codes).int()


def decode(codes: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """Give the numbers that codes stand for, float32, on grids that broadcast against them."""
    return (codes if zero is None else codes - zero).float() * scale.float()


def quantize(x: Tensor, spec: QSpec, *, generator: torch.Generator | None = None) -> Quantized:
    """Put a tensor on the nearest points of its own grids.

    Raises `ValueError` for a group that does not divide the columns, nan or inf, a scale that does not fit its type,
    and stochastic rounding without a generator.
    """
    scale, zero = fit(x, spec)
    parts, shift = cells(x, spec), None if zero is None else zero[..., None]
    codes = encode(parts, scale[..., None], shift, spec, generator=generator)
    return Quantized(codes.reshape(x.shape), scale, zero, spec, tuple(x.shape))


def dequantize(q: Quantized) -> Tensor:
    """Give back the numbers of a quantized tensor, float32. Raises `ValueError` as `Quantized.check`."""
    return values(q.check())


def values(q: Quantized) -> Tensor:
    """As `dequantize`, for a tensor that was checked before."""
    zero = None if q.zero is None else q.zero[..., None]
    return decode(cells(q.codes, q.spec), q.scale[..., None], zero).reshape(q.shape)


def fake_quantize(x: Tensor, spec: QSpec, *, generator: torch.Generator | None = None) -> Tensor:
    """Replace numbers by the nearest points of their grid, in their own type: quantization whose loss can be seen in
    any float computation. Raises as `quantize`."""
    return values(quantize(x, spec, generator=generator)).to(x.dtype)
