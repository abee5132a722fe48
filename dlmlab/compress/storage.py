"""What a smaller model costs to store: zeros in a dense tensor save nothing, a format that leaves them out does.

Decisions
* `Bitmask`: one bit for each weight says whether it is kept, then the kept values. Exact, and packed and unpacked here,
  so the bytes are those of real arrays.
* 2:4 keeps 2 of 4 values of b bits and two 2-bit places: (2 b + 4) / 4 bits a weight.
* Neither makes a CPU faster: PyTorch has no CPU kernel for them, and the weights are unpacked before they are used.
* Fewer bits are stored as they are (`network.packed`): there real tensors are counted.

Source of the 2:4 layout: Mishra et al., arXiv 2104.08378.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dlmlab.network import packed, parts


@dataclass(frozen=True)
class Bitmask:
    """A matrix without its zeros: `values` (kept,), `bits` uint8, `shape`."""

    values: Tensor
    bits: np.ndarray
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return self.values.numel() * self.values.element_size() + self.bits.nbytes


def pack(W: Tensor) -> Bitmask:
    """Leave out the zeros of a matrix."""
    kept = W != 0
    return Bitmask(W[kept].clone(), np.packbits(kept.cpu().numpy()), tuple(W.shape))


def unpack(packed: Bitmask) -> Tensor:
    """Restore the matrix, bit for bit."""
    n = int(np.prod(packed.shape))
    kept = torch.from_numpy(np.unpackbits(packed.bits, count=n).astype(bool)).view(packed.shape)
    return packed.values.new_zeros(packed.shape).masked_scatter_(kept.to(packed.values.device), packed.values)


def stored_bytes(model: nn.Module) -> int:
    """Count the bytes of a model whose block matrices are packed where that is shorter; the rest stays dense."""
    dense = sum(p.numel() * p.element_size() for p in model.parameters())
    matrices = [W.detach() for W in parts.weights(model).values()]
    return dense - sum(max(W.numel() * W.element_size() - pack(W).nbytes, 0) for W in matrices)


def model_bytes(model: nn.Module) -> int:
    """Count the bytes of all parameters and buffers of a model as they lie in memory, each tensor once."""
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def bits_of(model: nn.Module) -> float:
    """Mean bits a weight over the block matrices, scales and zero points counted, of a packed model or a dense one."""
    quantized, total, count = dict(packed.layers(model)), 0, 0
    for name, W in parts.weights(model).items():
        total += quantized[name].nbytes if name in quantized else W.numel() * W.element_size()
        count += W.numel()
    return 8 * total / count
