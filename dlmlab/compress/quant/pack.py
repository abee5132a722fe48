"""Packed storage: codes of b bits take b bits, not the eight or thirty-two of a tensor.

Decisions
* Codes are stored from 0 on (a symmetric code plus its largest), row after row, without gaps between rows. Eight codes
  of b bits are b bytes, the first code in the lowest bits: at 4 bits two nibbles to a byte, the even column low.
* Three levels (ternary) go five to a byte, 3^5 = 243: 1.6 bits instead of 2.
* More than 8 bits: the low byte of every code, then the packed rest.
* Zero points are packed like codes; scales are stored as they are. `nbytes` counts real tensors.
* Nested: an ordinary 4-bit grid, and for every weight what is missing in sixteenths of its step, 4 bits more. Without
  the second half it is the 4-bit model, with it an 8-bit one: one set of weights, two precisions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from dlmlab.compress.quant import grids
from dlmlab.compress.quant.grids import SCALES, QSpec, Quantized

TRITS = 3 ** torch.arange(5)
NEST = 16  # steps of the fine grid in one of the coarse

# ------------------------------------------------------------------------------------------------ bits


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """Pack codes 0..2^bits - 1 of any shape, ceil(n bits / 8) bytes, uint8. Raises `ValueError` for another code.

    >>> pack_bits(torch.tensor([1, 2, 3]), 4).tolist()  # 2 * 16 + 1, 3
    [33, 3]
    """
    codes = codes.flatten().long()
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < 2**bits:
        raise ValueError(f"codes {int(codes.min())}..{int(codes.max())} do not fit {bits} bits")
    if bits >= 8:
        low = (codes & 255).to(torch.uint8)
        return low if bits == 8 else torch.cat([low, pack_bits(codes >> 8, bits - 8)])
    n = -(-len(codes) * bits // 8)  # bytes
    words = torch.nn.functional.pad(codes, (0, -len(codes) % 8)).view(-1, 8) << bits * torch.arange(8)
    return (words.sum(1, keepdim=True) >> 8 * torch.arange(bits) & 255).flatten()[:n].to(torch.uint8)


def unpack_bits(packed: Tensor, bits: int, n: int) -> Tensor:
    """Restore n codes, int32 (n,). Raises `ValueError` for bytes that are not those of n codes."""
    if packed.dtype != torch.uint8 or packed.ndim != 1 or len(packed) != -(-n * bits // 8):
        raise ValueError(
            f"{n} codes of {bits} bits are {-(-n * bits // 8)} bytes, got {tuple(packed.shape)} {packed.dtype}"
        )
    if bits > 8:
        return packed[:n].int() | unpack_bits(packed[n:], bits - 8, n) << 8
    if 8 % bits == 0:  # whole codes in a byte
        return (packed[:, None].int() >> torch.arange(0, 8, bits) & 2**bits - 1).flatten()[:n].int()
    words = torch.nn.functional.pad(packed, (0, -len(packed) % bits)).view(-1, bits).long() << 8 * torch.arange(bits)
    return (words.sum(1, keepdim=True) >> bits * torch.arange(8) & 2**bits - 1).flatten()[:n].int()


def pack_trits(codes: Tensor) -> Tensor:
    """Pack codes 0, 1, 2, five to a byte, uint8."""
    codes = codes.flatten().long()
    return (torch.nn.functional.pad(codes, (0, -len(codes) % 5)).view(-1, 5) * TRITS).sum(1).to(torch.uint8)


def unpack_trits(packed: Tensor, n: int) -> Tensor:
    """Restore n codes 0, 1, 2, int32. Raises `ValueError` for bytes that are not those of n such codes."""
    if packed.dtype != torch.uint8 or len(packed) != -(-n // 5) or (n and int(packed.max()) >= 243):
        raise ValueError(
            f"{n} ternary codes are {-(-n // 5)} bytes below 243, got {tuple(packed.shape)} {packed.dtype}"
        )
    return (packed.long()[:, None] // TRITS % 3).flatten()[:n].int()


# ------------------------------------------------------------------------------------------------ tensors


@dataclass(frozen=True)
class Packed:
    """A quantized tensor in storage: `codes` and `zero` are bytes, `scale` one number a cell."""

    codes: Tensor
    scale: Tensor
    zero: Tensor | None
    spec: QSpec
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.tensors().values())

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """The tensors under the names that safetensors stores; `describe` is what else is needed to read them."""
        found = {"codes": self.codes, "scale": self.scale} | ({} if self.zero is None else {"zero": self.zero})
        return {prefix + name: tensor for name, tensor in found.items()}

    def describe(self) -> dict:
        """Spec and shape as plain values, for a config file."""
        return asdict(self.spec) | {"shape": list(self.shape)}

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], description: Mapping, prefix: str = "") -> "Packed":
        """Put together again what `tensors` and `describe` gave. Raises `ValueError` for what does not fit."""
        given = dict(description)
        try:
            shape = tuple(given.pop("shape"))
            spec = QSpec(**given)
            codes, scale = tensors[prefix + "codes"], tensors[prefix + "scale"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"packed tensor {prefix!r}: {error} is missing or unknown") from error
        if scale.dtype != SCALES[spec.scale]:
            raise ValueError(f"packed tensor {prefix!r}: scale is {scale.dtype}, the spec says {spec.scale}")
        packed = cls(codes, scale, tensors.get(prefix + "zero"), spec, shape)
        unpack(packed)  # refuses damage
        return packed


def pack(q: Quantized) -> Packed:
    """Pack a quantized tensor. Raises `ValueError` for a damaged one."""
    q.check()
    zero = None if q.zero is None else _bytes(q.zero, q.spec)
    return Packed(_bytes(q.codes - q.spec.codes[0], q.spec), q.scale, zero, q.spec, q.shape)


def unpack(packed: Packed) -> Quantized:
    """Restore the quantized tensor, bit for bit. Raises `ValueError` for a damaged one."""
    return _restore(packed).check()


def weights(packed: Packed) -> Tensor:
    """Give the numbers of a packed tensor that was checked before, float32."""
    return grids.values(_restore(packed))


def _restore(packed: Packed) -> Quantized:
    spec, zero = packed.spec, packed.zero
    codes = _codes(packed.codes, spec, torch.Size(packed.shape).numel()).view(packed.shape) + spec.codes[0]
    zero = None if zero is None else _codes(zero, spec, packed.scale.numel()).view(packed.scale.shape)
    return Quantized(codes, packed.scale, zero, spec, packed.shape)


def _bytes(codes: Tensor, spec: QSpec) -> Tensor:
    return pack_trits(codes) if spec.codes == (-1, 1) else pack_bits(codes, spec.bits)


def _codes(packed: Tensor, spec: QSpec, n: int) -> Tensor:
    return unpack_trits(packed, n) if spec.codes == (-1, 1) else unpack_bits(packed, spec.bits, n)


# ------------------------------------------------------------------------------------------------ nested


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
            return grids.values(q)
        rest = unpack_bits(self.rest, 4, q.codes.numel()).view(q.shape) - 8
        zero = None if q.zero is None else NEST * q.zero
        return grids.values(replace(q, codes=NEST * q.codes + rest, scale=q.scale.float() / NEST, zero=zero))


def nest(W: Tensor, spec: QSpec) -> Nested:
    """Put W on a 4-bit grid, and what is missing on sixteenths of its step.

    The fine grid has the step range/240 where one of its own would have range/255; half a step up is cut to 7/16.
    Raises `ValueError` for a spec that has not 4 bits, and as `grids.quantize`.
    """
    if spec.bits != 4 or spec.rounding != "nearest":
        raise ValueError(f"nested weights begin with 4 bits, rounded to the nearest; got {spec}")
    q = grids.quantize(W, spec)
    step = q.scale.float()[..., None] / NEST
    missing = grids.cells(W.float() - grids.values(q), spec) / step
    rest = missing.round().clamp(-NEST // 2, NEST // 2 - 1).reshape(W.shape).int()
    return Nested(pack(q), pack_bits(rest + NEST // 2, 4))
