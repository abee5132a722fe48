"""A linear layer that keeps its weights packed and unpacks them whenever it is asked.

Decisions
* Its output is bit for bit that of a dense layer with the fake-quantized weights: the unpacked numbers are the same and
  so is the multiplication. Accuracy may be measured on either, bytes on this one.
* It saves memory, not time: unpacking comes on top of the product. Kernels that multiply packed weights directly exist
  for graphics cards and a few CPU formats.
* The parts are buffers, so `state_dict`, `to` and safetensors see them.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from dlmlab.compress.quant import pack
from dlmlab.compress.quant.grids import Quantized
from dlmlab.compress.quant.pack import Packed


class QuantLinear(nn.Module):
    """A linear layer without bias of packed weights (R, C): x (..., C) -> (..., R)."""

    def __init__(self, packed: Packed):
        super().__init__()
        self.out_features, self.in_features = pack.unpack(packed).shape  # refuses damage
        self.spec = packed.spec
        for name, tensor in packed.tensors().items():
            self.register_buffer(name, tensor)

    @classmethod
    def of(cls, quantized: Quantized) -> "QuantLinear":
        """Pack a quantized matrix and make the layer."""
        return cls(pack.pack(quantized))

    @property
    def packed(self) -> Packed:
        zero = None if self.spec.symmetric else self.zero
        return Packed(self.codes, self.scale, zero, self.spec, (self.out_features, self.in_features))

    @property
    def weight(self) -> Tensor:
        """The weights, unpacked now, float32."""
        return pack.weights(self.packed)

    @property
    def nbytes(self) -> int:
        return self.packed.nbytes

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bits={self.spec.bits}, group={self.spec.group}"


def replace(block: nn.Module, name: str, new: nn.Module) -> None:
    """Put a layer in the place of another; what hooks the input, such as a rotation, stays."""
    new._forward_pre_hooks.update(block.get_submodule(name)._forward_pre_hooks)
    block.set_submodule(name, new)


def model_bytes(model: nn.Module) -> int:
    """Count the bytes of all parameters and buffers of a model as they lie in memory, each tensor once."""
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def packed_sizes(model: nn.Module) -> dict[str, int]:
    """Bytes of each packed layer, by name."""
    return {name: layer.nbytes for name, layer in model.named_modules() if isinstance(layer, QuantLinear)}
