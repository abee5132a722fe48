"""Packed storage: codes of b bits take b bits, not the eight or thirty-two of a tensor, in memory and in a checkpoint.

Decisions
* Codes are stored from 0 on (a symmetric code plus its largest), row after row, without gaps between rows. Eight codes
  of b bits are b bytes, the first code in the lowest bits: at 4 bits two nibbles to a byte, the even column low.
* Three levels (ternary) go five to a byte, 3^5 = 243: 1.6 bits instead of 2.
* More than 8 bits: the low byte of every code, then the packed rest.
* Zero points are packed like codes; scales are stored as they are. `nbytes` counts real tensors.
* The output of a `QuantLinear` is bit for bit that of a dense layer with the fake-quantized weights: the unpacked
  numbers are the same and so is the multiplication. Accuracy may be measured on either, bytes on this one.
* It saves memory, not time: unpacking comes on top of the product. Kernels that multiply packed weights directly exist
  for graphics cards and a few CPU formats.
* Packed bytes look sound whatever they hold, so a checkpoint carries a checksum of each matrix beside its spec.

It stands here and not in `compress`, because a checkpoint must be read by what is before that room: reading needs the
layout and the meaning of codes, a hundred lines, and nothing of how they were chosen. The other way, a table of readers
that `compress` fills, would make what `load()` can read depend on what was imported before.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlmlab.network import codes as meaning
from dlmlab.network import parts
from dlmlab.network.codes import SCALES, QSpec, Quantized, scale_shape

CHECKSUM = "crc32"
KEYS = (*(field.name for field in fields(QSpec)), CHECKSUM)  # what a config says of each packed matrix

# ------------------------------------------------------------------------------------------------ bits


def _upto(n: int, like: Tensor) -> Tensor:
    return torch.arange(n, device=like.device)


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """Pack codes 0..2^bits - 1 of any shape, ceil(n bits / 8) bytes, uint8. Raises `ValueError` for another code.

    >>> pack_bits(torch.tensor([1, 2, 3]), 4).tolist()  # 2 * 16 + 1, 3
    [33, 3]
    """
    codes = codes.flatten().long()
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < 2**bits:
        raise ValueError(f"codes {int(codes.min())}..{int(codes.max())} do not fit {bits} bits")
    if bits == 4:
        return pack_nibbles(codes)
    if bits >= 8:
        low = (codes & 255).to(torch.uint8)
        return low if bits == 8 else torch.cat([low, pack_bits(codes >> 8, bits - 8)])
    n = -(-len(codes) * bits // 8)  # bytes
    words = torch.nn.functional.pad(codes, (0, -len(codes) % 8)).view(-1, 8) << bits * _upto(8, codes)
    return (words.sum(1, keepdim=True) >> 8 * _upto(bits, codes) & 255).flatten()[:n].to(torch.uint8)


def unpack_bits(packed: Tensor, bits: int, n: int) -> Tensor:
    """Restore n codes, int32 (n,). Raises `ValueError` for bytes that are not those of n codes."""
    if packed.dtype != torch.uint8 or packed.ndim != 1 or len(packed) != -(-n * bits // 8):
        raise ValueError(
            f"{n} codes of {bits} bits are {-(-n * bits // 8)} bytes, got {tuple(packed.shape)} {packed.dtype}"
        )
    if bits == 4:
        return unpack_nibbles(packed, n)
    if bits > 8:
        return packed[:n].int() | unpack_bits(packed[n:], bits - 8, n) << 8
    if 8 % bits == 0:  # whole codes in a byte
        return (packed[:, None].int() >> bits * _upto(8 // bits, packed) & 2**bits - 1).flatten()[:n].int()
    words = torch.nn.functional.pad(packed, (0, -len(packed) % bits)).view(-1, bits).long() << 8 * _upto(bits, packed)
    return (words.sum(1, keepdim=True) >> bits * _upto(8, packed) & 2**bits - 1).flatten()[:n].int()


def pack_nibbles(codes: Tensor) -> Tensor:
    """Pack codes 0..15 of any shape two to a byte, uint8: of each pair the first low, the second high; 0 fills up.

    Source: notebook 05, exercise 5.3.

    >>> pack_nibbles(torch.tensor([1, 2, 3])).tolist()
    [33, 3]
    """
    pairs = torch.nn.functional.pad(codes.flatten(), (0, codes.numel() % 2)).to(torch.uint8).view(-1, 2)
    return pairs[:, 0] | pairs[:, 1] << 4


def unpack_nibbles(packed: Tensor, n: int) -> Tensor:
    """Restore n codes 0..15 from their bytes, int32 (n,). Source: notebook 05, exercise 5.6.

    >>> unpack_nibbles(torch.tensor([33, 3], dtype=torch.uint8), 3).tolist()
    [1, 2, 3]
    """
    return torch.stack([packed & 15, packed >> 4], 1).flatten()[:n].int()


def pack_trits(codes: Tensor) -> Tensor:
    """Pack codes 0, 1, 2, five to a byte, uint8."""
    codes = codes.flatten().long()
    return (
        (torch.nn.functional.pad(codes, (0, -len(codes) % 5)).view(-1, 5) * 3 ** _upto(5, codes)).sum(1).to(torch.uint8)
    )


def unpack_trits(packed: Tensor, n: int) -> Tensor:
    """Restore n codes 0, 1, 2, int32. Raises `ValueError` for bytes that are not those of n such codes."""
    if packed.dtype != torch.uint8 or len(packed) != -(-n // 5) or (n and int(packed.max()) >= 243):
        raise ValueError(
            f"{n} ternary codes are {-(-n // 5)} bytes below 243, got {tuple(packed.shape)} {packed.dtype}"
        )
    return (packed.long()[:, None] // 3 ** _upto(5, packed) % 3).flatten()[:n].int()


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

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by the names under which they are stored."""
        return {"codes": self.codes, "scale": self.scale} | ({} if self.zero is None else {"zero": self.zero})


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
    return meaning.values(_restore(packed))


def _restore(packed: Packed) -> Quantized:
    spec, zero = packed.spec, packed.zero
    codes = _codes(packed.codes, spec, torch.Size(packed.shape).numel()).view(packed.shape) + spec.codes[0]
    zero = None if zero is None else _codes(zero, spec, packed.scale.numel()).view(packed.scale.shape)
    return Quantized(codes, packed.scale, zero, spec, packed.shape)


def _bytes(codes: Tensor, spec: QSpec) -> Tensor:
    return pack_trits(codes) if spec.codes == (-1, 1) else pack_bits(codes, spec.bits)


def _codes(packed: Tensor, spec: QSpec, n: int) -> Tensor:
    return unpack_trits(packed, n) if spec.codes == (-1, 1) else unpack_bits(packed, spec.bits, n)


def layout(shape: tuple[int, ...], spec: QSpec) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape and type of each tensor of a packed one. Raises `ValueError` for a group that does not divide the columns.

    >>> layout((2, 128), QSpec(4, group=64))
    {'codes': ((128,), torch.uint8), 'scale': ((2, 2), torch.float16), 'zero': ((2,), torch.uint8)}
    """
    cells = scale_shape(shape, spec)
    n, m = torch.Size(shape).numel(), torch.Size(cells).numel()
    codes = -(-n // 5) if spec.codes == (-1, 1) else -(-n * spec.bits // 8)
    found = {"codes": ((codes,), torch.uint8), "scale": (cells, SCALES[spec.scale])}
    return found if spec.symmetric else found | {"zero": ((-(-m * spec.bits // 8),), torch.uint8)}


def matrix_bytes(shape: tuple[int, int], spec: QSpec) -> int:
    """Count the bytes of a packed matrix (R, C): its codes, one after the other, a scale for each group, and, if the
    grid is asymmetric, a zero point for each scale, packed like the codes. Raises `ValueError` as `layout`.

    >>> matrix_bytes((2, 128), QSpec(4, group=64))  # 128 of codes, 4 scales of 2 bytes, 4 zero points of half a byte
    138
    """
    return sum(torch.Size(size).numel() * kind.itemsize for size, kind in layout(shape, spec).values())


# ------------------------------------------------------------------------------------------------ layers


class QuantLinear(nn.Module):
    """A linear layer without bias of packed weights (R, C): x (..., C) -> (..., R).

    The parts are buffers, so `state_dict`, `to` and safetensors see them; new, they are empty. Raises `ValueError` for
    a group that does not divide C.
    """

    def __init__(self, shape: tuple[int, int], spec: QSpec):
        super().__init__()
        (self.out_features, self.in_features), self.spec = shape, spec
        for name, (size, dtype) in layout(shape, spec).items():
            self.register_buffer(name, torch.zeros(size, dtype=dtype))

    @classmethod
    def of(cls, quantized: Quantized) -> "QuantLinear":
        """Pack a quantized matrix and make the layer. Raises `ValueError` for a damaged one."""
        layer = cls(tuple(quantized.shape), quantized.spec)
        for name, tensor in pack(quantized).tensors().items():
            setattr(layer, name, tensor)
        return layer

    @property
    def packed(self) -> Packed:
        zero = None if self.spec.symmetric else self.zero
        return Packed(self.codes, self.scale, zero, self.spec, (self.out_features, self.in_features))

    @property
    def weight(self) -> Tensor:
        """The weights, unpacked now, float32. Writing into them changes nothing."""
        return weights(self.packed)

    @property
    def nbytes(self) -> int:
        return self.packed.nbytes

    def _apply(self, fn, recurse: bool = True) -> "QuantLinear":
        """Move with the model; its casts are of what is computed, and a scale stays as it is stored."""
        scale = self.scale
        super()._apply(fn, recurse)
        if self.scale.dtype != scale.dtype:
            self.scale = scale.to(self.scale.device)
        return self

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bits={self.spec.bits}, group={self.spec.group}"


def replace(block: nn.Module, name: str, new: nn.Module) -> None:
    """Put a layer in the place of another; what hooks the input, such as a rotation, stays."""
    new._forward_pre_hooks.update(block.get_submodule(name)._forward_pre_hooks)
    block.set_submodule(name, new)


# ------------------------------------------------------------------------------------------------ models


def stored(model: nn.Module) -> dict[str, torch.dtype]:
    """Name the parts of the packed matrices of a model as they stand in a checkpoint, with the type that each has."""
    named = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, QuantLinear))
    return {f"{name}.{part}": tensor.dtype for name, layer in named for part, tensor in layer.named_buffers()}


def layers(model: nn.Module) -> Iterator[tuple[str, QuantLinear]]:
    """Go through the packed matrices of a model, by their names: `blocks.0.q_proj`."""
    for i, block in enumerate(parts.blocks(model)):
        for name, layer in parts.matrices(block).items():
            if isinstance(layer, QuantLinear):
                yield f"blocks.{i}.{name}", layer


def check_dense(model: nn.Module) -> nn.Module:
    """Return a model whose weights can be changed. Raises `ValueError` for one with packed matrices."""
    if found := next(layers(model), None):
        raise ValueError(
            f"{found[0]} is packed in {found[1].spec.bits} bits and cannot be changed: prune, rotate or train the "
            "model before it is quantized"
        )
    return model


def describe(model: nn.Module) -> dict[str, dict] | None:
    """Say of every packed matrix what a config must: spec and checksum, as plain values. None when there is none."""
    return {name: asdict(layer.spec) | {CHECKSUM: checksum(layer)} for name, layer in layers(model)} or None


def checksum(layer: QuantLinear) -> int:
    """Sum up the bytes of a packed layer, CRC-32."""
    total = 0
    for tensor in layer.packed.tensors().values():
        total = zlib.crc32(tensor.detach().cpu().contiguous().numpy().tobytes(), total)
    return total


def make_room(model: nn.Module, described: Mapping[str, Mapping]) -> None:
    """Replace the matrices that a config describes by empty packed layers, in place.

    Raises `ValueError` with the name of a matrix that cannot be so.
    """
    for name, values in described.items():
        _, layer, path = name.split(".", 2)
        block = parts.blocks(model)[int(layer)]
        try:
            replace(block, path, QuantLinear(tuple(block.get_submodule(path).weight.shape), spec_of(values)))
        except ValueError as error:
            raise ValueError(f"quantization of {name}: {error}") from error


def spec_of(values: Mapping) -> QSpec:
    """Read the spec that `describe` wrote. Raises `ValueError` for whatever it cannot have written."""
    if not isinstance(values, Mapping) or values.keys() != set(KEYS):
        found = ", ".join(map(str, values)) if isinstance(values, Mapping) else type(values).__name__
        raise ValueError(f"needs the keys {', '.join(KEYS)}, got {found[:200] or 'none'}")
    return QSpec(**{key: value for key, value in values.items() if key != CHECKSUM})


def damage(model: nn.Module, described: Mapping[str, Mapping] | None) -> list[str]:
    """List what is wrong with the packed matrices of a model whose config describes them, one line a matrix."""
    problems = []
    for name, layer in layers(model):
        try:
            unpack(layer.packed)
            if checksum(layer) != described[name][CHECKSUM]:
                problems.append(f"damaged: {name}: its bytes are others than those that were saved (checksum)")
        except ValueError as error:
            problems.append(f"damaged: {name}: {error}")
    return problems
