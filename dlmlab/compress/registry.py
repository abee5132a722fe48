"""The contract of a compression method, the registry of all of them, and the one walk that applies them to a model.

    Method(name, needs, apply)        apply(W, statistics, options, generator) -> new W or `Quantized`, shapes (R, C)

Decisions
* A method is a function of one matrix. What it is told (a sparsity, a number of bits) stands in an object of its own
  class, `options`; the walk does not look inside.
* A method that is not made of matrices (it takes whole units away, or looks at its own states) is a `Program`: model
  in, model out. Both stand in one registry, and the command line offers what stands there.
* A quantizer returns codes and their grid. The walk puts their numbers into the matrix (fake quantization, for
  accuracy), or a packed layer in its place (for bytes): the same numbers either way.
* Nothing falls back to the dense model: an unknown name, and a method without what it needs, raise `ValueError`.
"""

import copy
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dlmlab.compress import activations
from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet
from dlmlab.network import parts
from dlmlab.network.codes import Quantized, dequantize
from dlmlab.network.packed import QuantLinear, check_dense, replace
from dlmlab.network.placement import DISK

NEEDS = (None, "sums", "gram")
TEXTS = ("calibration", "region", "texts", "seed")  # what a command line says about the texts that a method looks at


@dataclass(frozen=True)
class Method:
    """How one matrix is compressed.

    `needs` of the inputs: None, the `sums` of `Statistics`, or `gram`, their second moments too. `score`, of methods
    whose scores can be compared between matrices: as `apply`, returns (R, C) scores. `uses`: what of its options not
    every method of its `family` reads (`seed`, `block`, the pattern `layer`; of a quantizer, all of them); a family is
    what one command offers. `options`: makes them from the plain values that a command line has, named in `uses`.
    """

    name: str
    needs: str | None
    apply: Callable[[Tensor, Statistics | None, Any, torch.Generator | None], Tensor | Quantized]
    score: Callable[[Tensor, Statistics | None, Any, torch.Generator | None], Tensor] | None = None
    uses: tuple[str, ...] = ()
    family: str = "prune"
    options: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if self.needs not in NEEDS:
            raise ValueError(f"method {self.name!r}: needs={self.needs!r} is unknown; known: {NEEDS}")
        if not callable(self.apply):
            raise ValueError(f"method {self.name!r}: apply={self.apply!r} is no function (W, statistics, ...) -> W")

    def check(self, W: Tensor, statistics: Statistics | None) -> None:
        """Raise `ValueError` for weights that are not finite and for statistics that are missing or not finite."""
        if not bool(torch.isfinite(W).all()):
            raise ValueError("the weights hold nan or inf")
        if self.needs and statistics is None:
            raise ValueError(f"method {self.name!r} needs statistics of a calibration set")
        if self.needs:
            statistics.check("the matrix")
        if self.needs == "gram":
            statistics.second_moments("the matrix")


@dataclass(frozen=True)
class Program:
    """A method that takes a model as a whole: `run(model, texts, **options) -> model`; of a quantizer,
    `run(model, texts, options=, packed=)`.

    `uses`: the options of its `family` that have a meaning for it, as the command line names them. `options`: as in
    `Method`.
    """

    name: str
    run: Callable[..., nn.Module]
    uses: tuple[str, ...] = ()
    family: str = "prune"
    options: Callable[..., Any] | None = None


METHODS: dict[str, Method | Program] = {}


def register(method: Method | Program) -> Method | Program:
    """Add a method to the registry. Raises `ValueError` when the name is taken."""
    if method.name in METHODS:
        raise ValueError(f"method {method.name!r} is there already")
    METHODS[method.name] = method
    return method


def known(name: str) -> Method | Program:
    """Return a registered method. Raises `ValueError` with all names for an unknown one."""
    if name not in METHODS:
        _import_all()
    if name not in METHODS:
        raise ValueError(f"method={name!r} is unknown; known: {', '.join(sorted(METHODS))}")
    return METHODS[name]


def names(family: str = "prune") -> list[str]:
    """List the registered methods that a command offers."""
    return [method.name for method in METHODS.values() if method.family == family]


def matrix_method(name: str, family: str | None = None) -> Method:
    """Return a registered method of one matrix, of one family or any. Raises `ValueError` with their names."""
    if name not in METHODS:
        _import_all()
    those = {m.name: m for m in METHODS.values() if isinstance(m, Method) and family in (None, m.family)}
    if name not in those:
        raise ValueError(f"method={name!r} is unknown; known: {', '.join(sorted(those))}")
    return those[name]


def _import_all() -> None:
    """Fill the registry: who asks for a method by name need not know in which module it stands."""
    for module in ("methods", "quant.quantize"):
        importlib.import_module(f"dlmlab.compress.{module}")


Choose = Callable[[str], Any]  # name of a matrix -> options of its method, None to leave the matrix as it is
LEAVE = object()


@torch.no_grad()
def compress(
    model: nn.Module,
    method: Method | str,
    options: Any | Sequence[Any] | Choose,
    *,
    calib: CalibrationSet | None = None,
    weights: Tensor | None = None,
    statistics: dict[str, Statistics] | None = None,
    sequential: bool = True,
    generator: torch.Generator | None = None,
    packed: bool = False,
    device: str | None = None,
) -> nn.Module:
    """Return a compressed copy of a model: every matrix of every block, from the first layer to the last.

    `options`: one object for all, a list of one for each block, or a function of the name of a matrix (None: it stays).
    Methods that look at inputs need `calib`, with token `weights` (N, L) or without, or ready `statistics` of the dense
    model (then `sequential`, each layer seeing the errors of those before it, must be False). `packed`: quantized
    matrices take their real bytes. `device`: where each block is worked on, one after the other, when the whole model
    does not fit there (`activations.walk`). Raises `ValueError` when a method lacks what it needs, for a model that is
    packed already, and see `activations.walk`.
    """
    method = matrix_method(method) if isinstance(method, str) else method
    if DISK in getattr(model, "hf_device_map", {}).values():
        raise ValueError("parts of this model are on disk: load it whole on the CPU, device= then takes block by block")
    model = copy.deepcopy(check_dense(model))
    blocks = parts.blocks(model)
    choose = _choice(options, len(blocks))
    for layer, found in _visits(model, method, calib, weights, statistics, sequential, device):
        for name, matrix in parts.matrices(blocks[layer]).items():
            full = f"blocks.{layer}.{name}"
            if (chosen := choose(full)) is LEAVE:
                continue
            try:
                method.check(matrix.weight, found.get(name))
                new = method.apply(matrix.weight, found.get(name), chosen, generator)
            except ValueError as error:
                raise ValueError(f"{full}: {error}") from error
            _put(blocks[layer], name, new, packed)
    return model


def _choice(options: Any, count: int) -> Choose:
    if isinstance(options, list | tuple):
        if len(options) != count:
            raise ValueError(f"a list of options needs {count} of them, one a block, got {len(options)}")
        return lambda name: options[int(name.split(".")[1])]
    if callable(options):
        return lambda name: LEAVE if (chosen := options(name)) is None else chosen
    return lambda name: options


def _put(block: nn.Module, name: str, new: Tensor | Quantized, packed: bool) -> None:
    """Give a matrix its new numbers, or put a packed layer in its place."""
    if packed:
        if not isinstance(new, Quantized):
            raise ValueError("packed=True is of quantizers: this method returns weights, not codes")
        replace(block, name, QuantLinear.of(new))
    else:
        block.get_submodule(name).weight.copy_(dequantize(new) if isinstance(new, Quantized) else new)


def _visits(model, method: Method, calib, weights, statistics, sequential: bool, device: str | None):
    """Go through the layers with the statistics that the method needs of each."""
    if not method.needs:
        return _plain_visits(model, device)
    if statistics is not None and device is not None:
        raise ValueError(f"device={device!r}: ready statistics lie where they were made; pass calib= instead")
    if statistics is not None:
        if sequential:
            raise ValueError("ready statistics are those of the dense model: take sequential=False")
        return (
            (layer, {name: statistics[f"blocks.{layer}.{name}"] for name in parts.matrices(block)})
            for layer, block in enumerate(parts.blocks(model))
        )
    if calib is None:
        raise ValueError(f"method {method.name!r} looks at activations: it needs calib=calibration_set(...)")
    how = {"gram": method.needs == "gram", "sequential": sequential, "device": device}
    return activations.walk(model, calib, weights=weights, **how)


def _plain_visits(model, device: str | None):
    for layer, block in enumerate(parts.blocks(model)):
        with activations.visited(block, device):
            yield layer, {}
