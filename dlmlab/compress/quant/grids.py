"""Grids: numbers become whole-number codes, and a scale says how far apart the codes lie.

    symmetric    s = max|w| / (2^(b-1) - 1)     q = clamp(round(w / s))          w' = s q          q in -(2^(b-1)-1)..
    asymmetric   s = (max - min) / (2^b - 1)    q = clamp(round(w / s) + z)      w' = s (q - z)    q in 0..2^b-1
                 z = round(-min / s)

Decisions
* Every grid holds the number 0: the range of an asymmetric grid is widened to it, so a pruned weight stays 0.
* The scale is rounded to its stored type *before* it is used, and upwards: what is computed is what is stored, and no
  weight of the range is clipped by the rounding. A cell of zeros has the scale 1.
* What a cell is, and what codes mean once they are there: `dlmlab.network.codes`.
* Ternary is the symmetric grid of 2 bits with the mean of |w| as scale; with the maximum almost all weights become 0.

Sources: Jacob et al., arXiv 1712.05877 (affine grids); Ma et al., arXiv 2402.17764 (ternary, absmean); Frantar et al.,
GPTQ, arXiv 2210.17323, released code (search over shrunk ranges); Gupta et al., arXiv 1502.02551 (stochastic rounding).
"""

import torch
from torch import Tensor

from dlmlab.network.codes import SCALES, QSpec, Quantized, cells, decode, values

GRID = ("bits", "symmetric", "group", "range")  # what of a `QSpec` a command line asks for
SHRINK = tuple(1 - i / 50 for i in range(41))  # the ranges that "mse" tries, 1 down to 0.2


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


def round_rows(W: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Round each row of W to the nearest points of an asymmetric grid of its own: the equation above, written out.

    It is `quantize` with one scale a row that is not rounded to a stored type, and its reference. Shapes: W (R, C) ->
    codes (R, C) int32 from 0 on, scale (R, 1), zero (R, 1) int32. Source: notebook 05, exercise 5.1.

    >>> codes, scale, zero = round_rows(torch.tensor([[-1.0, 0.2, 2.0]]), bits=2)
    >>> codes.tolist(), scale.item(), zero.item()
    ([[0, 1, 3]], 1.0, 1)
    """
    top = 2**bits - 1
    low, high = W.amin(1, keepdim=True).clamp(max=0), W.amax(1, keepdim=True).clamp(min=0)
    scale = (high - low) / top
    scale = torch.where(scale == 0, 1.0, scale)
    zero = (-low / scale).round()
    codes = ((W / scale).round() + zero).clamp(0, top)
    return codes.int(), scale, zero.int()


def quantize(x: Tensor, spec: QSpec, *, generator: torch.Generator | None = None) -> Quantized:
    """Put a tensor on the nearest points of its own grids.

    Raises `ValueError` for a group that does not divide the columns, nan or inf, a scale that does not fit its type,
    and stochastic rounding without a generator.
    """
    scale, zero = fit(x, spec)
    parts, shift = cells(x, spec), None if zero is None else zero[..., None]
    codes = encode(parts, scale[..., None], shift, spec, generator=generator)
    return Quantized(codes.reshape(x.shape), scale, zero, spec, tuple(x.shape))


def fake_quantize(x: Tensor, spec: QSpec, *, generator: torch.Generator | None = None) -> Tensor:
    """Replace numbers by the nearest points of their grid, in their own type: quantization whose loss can be seen in
    any float computation. Raises as `quantize`."""
    return values(quantize(x, spec, generator=generator)).to(x.dtype)
