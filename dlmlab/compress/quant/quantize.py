"""A whole model, quantized: which matrix gets which grid, by which method, fake or packed.

    quantize_model(model, QSpec(4, group=64), gptq, calib=calib, packed=True)

Decisions
* A method is a function (W, statistics, spec) -> `Quantized` and knows of one matrix. What spans matrices (`awq`,
  `smooth`, `rotation`) makes another model with the same outputs, which is quantized afterwards.
* With `calib` layers are done in order, each seeing the errors of those before it; with ready `statistics` of the dense
  model all see the dense activations.
* Embedding, head and norms keep their precision, as in all published work on weights alone.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlmlab.compress import activations
from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet
from dlmlab.compress.quant.grids import QSpec, Quantized, dequantize
from dlmlab.compress.quant.linear import QuantLinear, replace
from dlmlab.compress.quant.rtn import rtn
from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM

Method = Callable[[Tensor, Statistics | None, QSpec], Quantized]
Choose = Callable[[str], QSpec | None] | QSpec  # name of a matrix -> its grid, None to leave it in floating point


@torch.no_grad()
def quantize_model(
    model: LLaDAModelLM,
    choose: Choose,
    method: Method = rtn,
    *,
    calib: CalibrationSet | None = None,
    weights: Tensor | None = None,
    statistics: dict[str, Statistics] | None = None,
    packed: bool = False,
) -> LLaDAModelLM:
    """Return a copy of the model whose block matrices are quantized, fake (default) or `packed`.

    `calib`, with token `weights` (N, L) or without: collect second moments layer by layer; or ready `statistics`.
    Raises `ValueError` with the name of the matrix for whatever the method cannot do.
    """
    if calib is not None and statistics is not None:
        raise ValueError("pass calib= (layers in order) or statistics= of the dense model, not both")
    model = copy.deepcopy(model)
    blocks = parts.blocks(model)
    if calib is None:
        ready = statistics or {}
        visits = (
            (layer, {name: ready.get(f"blocks.{layer}.{name}") for name in parts.matrices(block)})
            for layer, block in enumerate(blocks)
        )
    else:
        visits = activations.walk(model, calib, weights=weights, gram=True)
    for layer, found in visits:
        for name in parts.matrices(blocks[layer]):
            full = f"blocks.{layer}.{name}"
            spec = choose if isinstance(choose, QSpec) else choose(full)
            if spec is not None:
                _replace(blocks[layer], name, full, method, found[name], spec, packed)
    return model


def _replace(block: nn.Module, name: str, full: str, method: Method, statistics, spec: QSpec, packed: bool) -> None:
    layer = block.get_submodule(name)
    try:
        quantized = method(layer.weight.detach(), statistics, spec)
    except ValueError as error:
        raise ValueError(f"{full}: {error}") from error
    if not packed:
        layer.weight.copy_(dequantize(quantized))
        return
    replace(block, name, QuantLinear.of(quantized))


def bits_of(model: nn.Module) -> float:
    """Mean bits a weight over the block matrices of a packed model; a matrix left in floating point has its own."""
    total = count = 0
    for block in parts.blocks(model):
        for layer in parts.matrices(block).values():
            n = layer.in_features * layer.out_features
            size = layer.nbytes if isinstance(layer, QuantLinear) else n * layer.weight.element_size()
            total, count = total + 8 * size, count + n
    return total / count
