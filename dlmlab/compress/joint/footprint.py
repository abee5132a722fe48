"""What a compressed part weighs: bytes of real arrays, multiplications, and the energy proxy.

Decisions
* A matrix is stored in the shortest of the formats that fit it, and each format is packed and unpacked here, so its
  bytes are those of arrays that hold the matrix: `dense` (floats or codes), `bitmask` (one bit a weight and the kept
  ones), `2:4` (two kept of four, two bits each for their places).
* Zeros save no time on a CPU, so a multiplication by 0 counts as one. In the energy proxy (multiplications times bits)
  it does not: the proxy is that of hardware which skips them.
* The proxy counts the matrices of the blocks alone; it is no joule.

Source of the proxy: energy as multiplications times bits is common in mixed precision (for example arXiv 2312.15322
minimizes a hardware model's energy, which we do not have).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dlmlab.compress import storage
from dlmlab.compress.joint.orders import zero_codes
from dlmlab.network import packed, parts
from dlmlab.network.codes import Quantized
from dlmlab.network.packed import QuantLinear


@dataclass(frozen=True)
class Weight:
    """What a part weighs: `bytes` stored, multiplications a token, `macs`, and `energy`, multiplications by what is not
    0 times the bits of a weight."""

    bytes: int = 0
    macs: int = 0
    energy: float = 0.0

    def __add__(self, other: "Weight") -> "Weight":
        return Weight(self.bytes + other.bytes, self.macs + other.macs, self.energy + other.energy)


@dataclass(frozen=True)
class SparseCodes:
    """Codes without those of 0: `codes` of the kept, packed; `places`, which they are; scales and zero points.

    `kept` of every `of` neighbours, or (0, 0) for a bitmask.
    """

    codes: Tensor
    places: np.ndarray
    like: Quantized
    kept: int = 0
    of: int = 0

    @property
    def nbytes(self) -> int:
        return self.codes.numel() + self.places.nbytes + _grid_bytes(self.like)


def _grid_bytes(q: Quantized) -> int:
    zero = 0 if q.zero is None else packed.pack_bits(q.zero, q.spec.bits).numel()
    return q.scale.numel() * q.scale.element_size() + zero


def pack(q: Quantized) -> SparseCodes:
    """Store the codes that do not stand for 0, and a bit a weight that says which."""
    kept = q.codes != zero_codes(q)
    codes = packed.pack_bits(q.codes[kept] - q.spec.codes[0], q.spec.bits)
    return SparseCodes(codes, np.packbits(kept.cpu().numpy()), q)


def pack_n_of_m(q: Quantized, kept: int = 2, of: int = 4) -> SparseCodes:
    """Store `kept` codes of every `of` neighbours and their places in it. Raises `ValueError` when more are not 0."""
    full = (q.codes != zero_codes(q)).reshape(-1, of)
    if int(full.sum(1).max()) > kept:
        raise ValueError(f"{int(full.sum(1).max())} of {of} neighbours are not 0, only {kept} can be stored")
    at = (~full).to(torch.int8).argsort(dim=1, stable=True)[:, :kept].sort(1).values  # (n / of, kept)
    bits = (of - 1).bit_length()
    codes = packed.pack_bits(q.codes.reshape(-1, of).gather(1, at) - q.spec.codes[0], q.spec.bits)
    return SparseCodes(codes, packed.pack_bits(at, bits).numpy(), q, kept, of)


def unpack(sparse: SparseCodes) -> Tensor:
    """Restore the codes, bit for bit, int32 (R, C)."""
    q, out = sparse.like, zero_codes(sparse.like)
    n = out.numel()
    if sparse.of:
        n = n // sparse.of * sparse.kept
        at = packed.unpack_bits(torch.from_numpy(sparse.places), (sparse.of - 1).bit_length(), n).long()
        codes = packed.unpack_bits(sparse.codes, q.spec.bits, n) + q.spec.codes[0]
        groups = out.reshape(-1, sparse.of)
        return groups.scatter(1, at.view(len(groups), -1), codes.view(len(groups), -1)).view(q.shape)
    kept = torch.from_numpy(np.unpackbits(sparse.places, count=n).astype(bool)).view(q.shape)
    codes = packed.unpack_bits(sparse.codes, q.spec.bits, int(kept.sum())) + q.spec.codes[0]
    return out.masked_scatter(kept, codes)


def formats(matrix: nn.Module) -> dict[str, int]:
    """Count the bytes of a linear layer in each format that fits it."""
    if not isinstance(matrix, QuantLinear):
        W = matrix.weight.detach()
        return {"dense": W.numel() * W.element_size(), "bitmask": storage.pack(W).nbytes}
    q = packed.unpack(matrix.packed)
    found = {"dense": matrix.nbytes, "bitmask": pack(q).nbytes}
    if q.codes.shape[1] % 4 == 0 and int((q.codes != zero_codes(q)).reshape(-1, 4).sum(1).max()) <= 2:
        found["2:4"] = pack_n_of_m(q).nbytes
    return found


def weigh(matrix: nn.Module) -> Weight:
    """Weigh one linear layer, float or packed, in its shortest format."""
    W = matrix.weight.detach()
    bits = matrix.spec.code_bits if isinstance(matrix, QuantLinear) else 8 * W.element_size()
    return Weight(min(formats(matrix).values()), W.numel(), float(int((W != 0).sum()) * bits))


def weigh_block(block: nn.Module) -> Weight:
    """Weigh a block: its matrices, and the bytes of its norms."""
    matrices = parts.matrices(block).values()
    inside = {id(p) for matrix in matrices for p in matrix.parameters()}
    norms = sum(p.numel() * p.element_size() for p in block.parameters() if id(p) not in inside)
    return sum((weigh(matrix) for matrix in matrices), Weight(norms))


def outside(model: nn.Module) -> int:
    """Count the bytes that no option changes: embedding, head and last norm."""
    blocks = sum(p.numel() * p.element_size() for p in parts.blocks(model).parameters())
    return sum(p.numel() * p.element_size() for p in model.parameters()) - blocks


def weigh_model(model: nn.Module) -> Weight:
    """Weigh a model, float or packed."""
    return sum((weigh_block(block) for block in parts.blocks(model)), Weight(outside(model)))
