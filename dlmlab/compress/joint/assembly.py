"""Blocks of every option, made once, and models put together from them.

Decisions
* Every part is made from the statistics of the *dense* model, so it is the same whatever its neighbours are: six blocks
  with eleven options are 66 parts, not eleven to the power of six models. Later layers do not repair the errors of
  earlier ones ("sequential" calibration does); this is the price of a table that can be searched.
* A part is made by the methods of the registry, in this order: units leave, weights are removed, the rest is quantized.
* For measuring, weights are unpacked once (fake quantization); for bytes and for a checkpoint they stay packed. The
  numbers are the same.
"""

import copy
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from dlmlab.compress import activations, removal
from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet, calibration_problems, calibration_set
from dlmlab.compress.joint import footprint, options, orders
from dlmlab.compress.joint.footprint import Weight
from dlmlab.compress.joint.options import Choice, Option
from dlmlab.compress.registry import compress
from dlmlab.network import packed, parts
from dlmlab.network.checkpoint import load
from dlmlab.network.model import LLaDAModelLM
from dlmlab.network.packed import QuantLinear


@dataclass(frozen=True)
class Part:
    """A block or matrix after an option: `packed` where it is quantized, `plain` with the same numbers as floats (both
    None: it left), and what it weighs."""

    packed: nn.Module | None
    plain: nn.Module | None
    weight: Weight


@dataclass(frozen=True)
class Calibration:
    """The texts that all parts are made from: `texts` problems of the calibration split drawn by `seed`, noised by
    `mode` in a `region` (`calibration.calibration_set`)."""

    mode: str = "uniform"
    region: str = "answer"
    texts: int = 32
    seed: int = 0

    def states(self, tokenizer: PreTrainedTokenizerBase) -> CalibrationSet:
        """Make the calibration set."""
        problems = calibration_problems(self.texts, seed=self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        return calibration_set(tokenizer, problems, self.mode, region=self.region, generator=generator)

    def plain(self) -> dict:
        """Give the values as a JSON file holds them."""
        return asdict(self)


class Assembly:
    """Makes parts and models of a dense model. `statistics`: of its inputs, with second moments
    (`activations.collect(model, calib, gram=True)`)."""

    def __init__(self, model: LLaDAModelLM, statistics: dict[str, Statistics]):
        self.dense, self.statistics = packed.check_dense(model), statistics
        self._parts: dict[tuple[str, Option], Part] = {}

    @classmethod
    def of(cls, name: str, calibration: Calibration) -> "Assembly":
        """Load a dense model by name and look at the texts; a causal model gets them clean."""
        model, tokenizer = load(name)
        if model.config.attention == "causal":
            calibration = replace(calibration, mode="clean")
        return cls(model, activations.collect(model, calibration.states(tokenizer), gram=True))

    @property
    def places(self) -> list[str]:
        return options.layers(self.dense.config.n_layers)

    def part(self, place: str, option: Option) -> Part:
        """Make a part, or return the one that was made before. Raises `ValueError` for a place that is not there, and
        for units of a place that is no block."""
        if (place, option) not in self._parts:
            self._parts[place, option] = self._make(place, option)
        return self._parts[place, option]

    def _make(self, place: str, option: Option) -> Part:
        layer, path = options.split(place)
        if layer >= self.dense.config.n_layers:
            raise ValueError(f"place {place!r}: layers are 0..{self.dense.config.n_layers - 1}")
        if path and option.units:
            raise ValueError(f"{option} at {place!r}: units leave a block, not one matrix")
        if option.units == "layer":
            return Part(None, None, Weight())
        model, statistics = self._without_units(layer, option)
        if option.plan.spec is not None or option.sparsity:
            inside = f"{place}." if not path else place
            model = compress(
                model,
                orders.METHOD,
                lambda name: option.plan if name.startswith(inside) else None,
                statistics=statistics,
                sequential=False,
                packed=option.plan.spec is not None,
            )
        block = parts.blocks(model)[layer]
        module = block.get_submodule(path) if path else block
        weight = footprint.weigh(module) if path else footprint.weigh_block(module)
        return Part(module, unpacked(copy.deepcopy(module)), weight)

    def _without_units(self, layer: int, option: Option) -> tuple[LLaDAModelLM, dict[str, Statistics]]:
        """Take units out of a layer; the statistics of the matrix behind them lose the same columns."""
        if not option.units:
            return self.dense, self.statistics
        found = removal.choose_units(self.dense, option.units, option.share, "wanda", statistics=self.statistics)
        refit = self.statistics if option.repair else None
        small = removal.remove_units(self.dense, option.units, {layer: found[layer]}, statistics=refit)
        name = f"blocks.{layer}.{parts.UNITS[option.units].out}"
        width = parts.blocks(self.dense)[layer].width if option.units == "heads" else 1
        gone = torch.tensor(found[layer])[:, None] * width + torch.arange(width)
        return small, self.statistics | {name: without(self.statistics[name], gone.flatten())}

    def model(self, choice: Choice, *, packed: bool = False) -> LLaDAModelLM:
        """Put a model together: `choice` for the places it names, dense elsewhere. `packed`: quantized matrices keep
        their real bytes. Raises `ValueError` as `part`, and when no layer would stay."""
        small, gone = copy.deepcopy(self.dense), []
        blocks = parts.blocks(small)
        for place in sorted(choice, key=lambda place: place.count(".")):  # blocks before the matrices in them
            layer, path = options.split(place)
            part = self.part(place, choice[place])
            module = copy.deepcopy(part.packed if packed else part.plain)
            if module is None:
                gone.append(layer)
            elif path:
                blocks[layer].set_submodule(path, module)
            else:
                blocks[layer] = module
        if len(gone) == len(blocks):
            raise ValueError("every block would leave: at least one must stay")
        for layer in sorted(gone, reverse=True):
            del blocks[layer]
        return removal.described(small)

    def weigh(self, choice: Choice) -> Weight:
        """Weigh a choice over whole blocks without putting the model together."""
        blocks = (self.part(place, choice.get(place, Option())).weight for place in self.places)
        return sum(blocks, Weight(footprint.outside(self.dense)))

    def shapes(self, choice: Choice) -> list[tuple[int, int]]:
        """Give heads and neurons of the blocks that a choice keeps."""
        modules = (self.part(place, choice.get(place, Option())).plain for place in self.places)
        return [parts.shape(block) for block in modules if block is not None]


def without(statistics: Statistics, gone: torch.Tensor) -> Statistics:
    """Leave features out of the statistics of an input."""
    kept = torch.ones(len(statistics.sum_sq), dtype=torch.bool)
    kept[gone] = False
    sums = {name: getattr(statistics, name)[kept] for name in ("sum_sq", "sum_norm", "abs_sum", "abs_max")}
    gram = None if statistics.gram is None else statistics.gram[kept][:, kept]
    return replace(statistics, **sums, gram=gram)


def unpacked(module: nn.Module) -> nn.Module:
    """Replace packed matrices of a block by float ones with the same numbers, in place; a single one is returned."""
    if isinstance(module, QuantLinear):
        plain = nn.Linear(module.in_features, module.out_features, bias=False, device="meta")
        plain.weight = nn.Parameter(module.weight)
        return plain
    if not isinstance(module, nn.Linear):
        for name, matrix in parts.matrices(module).items():
            packed.replace(module, name, unpacked(matrix))
    return module
