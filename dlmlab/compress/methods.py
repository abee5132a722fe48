"""Methods by name, from texts to a smaller model: what `python -m dlmlab prune` offers is what `registry` holds.

Where the released code of Sink-Aware Pruning and its paper differ, both are here under their own names:

    name                        states          token weight                        statistic      layers
    sink-wanda                  ten levels      1 - phi of this very state          sum of norms   one shot
    sink-wanda-paper            ten levels      1 - mean of phi over the levels     sum of norms   one shot
    sink-wanda-consistent       ten levels      1 - phi of this very state          root mean sq.  sequential
    sink-sparsegpt              clean text      1 - mean of phi over ten levels     second moments sequential
    sink-sparsegpt-consistent   ten levels      1 - phi of this very state          second moments sequential

"consistent" differs from the noised method without sinks (`--calibration grid`) in the token weight and in nothing
else. phi is the released soft score (2 standard deviations, sharpness 5, mass not normalised). Differences of the
released code that we do not copy: n:m is ignored there (here it raises), and some method names save the dense model.

Source: arXiv 2602.17664 and github.com/VILA-Lab/Sink-Aware-Pruning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from transformers import PreTrainedTokenizerBase

from dlmlab.compress import activations, removal
from dlmlab.compress.calibration import (
    CalibrationSet,
    calibration_set,
    mean_over_levels,
    sink_scores,
    token_weights,
    trajectory_set,
)
from dlmlab.compress.pruning import Recipe, prune
from dlmlab.compress.registry import Program, known, names, register
from dlmlab.network.model import LLaDAModelLM
from dlmlab.task.tasks import Problem

__all__ = ["Program", "Texts", "apply", "known", "names", "shrink", "sink_aware"]


@dataclass(frozen=True)
class Texts:
    """What a method may look at: problems of the calibration split, the mode of their states, a seed for all chance."""

    tokenizer: PreTrainedTokenizerBase
    problems: Sequence[Problem]
    mode: str = "uniform"
    region: str = "all"
    seed: int = 0

    def states(self, model: LLaDAModelLM, mode: str | None = None) -> CalibrationSet:
        """Make the calibration set; a causal model gets clean text unless a mode is asked for."""
        mode = mode or self.mode
        if mode == "trajectory":
            return trajectory_set(model, self.tokenizer, self.problems)
        return calibration_set(self.tokenizer, self.problems, mode, region=self.region, generator=self.generator())

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def apply(
    model: LLaDAModelLM,
    name: str,
    sparsity: float,
    *,
    texts: Texts,
    pattern: str = "row",
    block: int | None = None,
) -> LLaDAModelLM:
    """Prune a copy of the model by a registered method.

    `sparsity` is the share of weights in the blocks, for `heads`, `neurons` and `layers` the share of units. `block`:
    columns of SparseGPT whose mask is chosen together. Raises `ValueError` for an unknown name and whatever the method
    cannot do.
    """
    method = known(name)
    if isinstance(method, Program):
        return method.run(model, texts, sparsity=sparsity, pattern=pattern, block=block)
    recipe = Recipe(name, sparsity, pattern, block=block)
    return prune(model, recipe, calib=texts.states(model) if method.needs else None, generator=texts.generator())


# ------------------------------------------------------------------------------------------------ sinks


def sink_aware(
    model: LLaDAModelLM, texts: Texts, *, recipe: Recipe, mean: bool = False, clean: bool = False
) -> LLaDAModelLM:
    """Prune with the token weight 1 - phi; phi comes from ten noise levels of each text.

    `mean`: of phi over the levels of a text; `clean`: the statistics come from clean texts, which need that mean.
    """
    grid = texts.states(model, "grid")
    phi, calib = sink_scores(model, grid), grid
    if mean:
        phi = mean_over_levels(phi, grid)
    if clean:
        calib = texts.states(model, "clean")
        phi = phi[: len(calib)]  # the first level holds every text once, in order
    return prune(model, recipe, calib=calib, weights=token_weights("sink", calib, phi=phi))


def _register_sink(name: str, method: str, *, mean: bool = False, clean: bool = False, released: bool = False) -> None:
    layers = {"statistic": "norms", "sequential": False} if released else {}

    def run(model: LLaDAModelLM, texts: Texts, *, sparsity: float, pattern: str, block: int | None) -> LLaDAModelLM:
        recipe = Recipe(method, sparsity, pattern, block=block, **layers)
        return sink_aware(model, texts, recipe=recipe, mean=mean, clean=clean)

    register(Program(name, run, uses=("pattern", "block", "region")))


_register_sink("sink-wanda", "wanda", released=True)
_register_sink("sink-wanda-paper", "wanda", mean=True, released=True)
_register_sink("sink-wanda-consistent", "wanda")
_register_sink("sink-sparsegpt", "sparsegpt", mean=True, clean=True)
_register_sink("sink-sparsegpt-consistent", "sparsegpt")


# ------------------------------------------------------------------------------------------------ whole units


def shrink(
    model: LLaDAModelLM, texts: Texts, *, units: str, sparsity: float, pattern: str = "row", block: int | None = None
) -> LLaDAModelLM:
    """Remove the share of heads or neurons with the lowest Wanda sums (with refit), or layers by block influence.

    Raises `ValueError` for a share outside [0, 1), or one so small that nothing would go, and for a pattern or block.
    """
    for option, value, default in (("pattern", pattern, "row"), ("block", block, None)):
        if value != default:
            raise ValueError(f"method {units!r} removes whole units: {option}={value!r} has no meaning")
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity={sparsity} is outside [0, 1)")
    calib = texts.states(model)
    if units == "layers":
        influence = removal.block_influence(model, calib)
        order = sorted(range(len(influence)), key=influence.__getitem__)
        lowest = order[: int(sparsity * len(order) + 1e-9)]
        _check_any(units, sparsity, lowest)
        return removal.remove_layers(model, lowest)
    statistics = activations.collect(model, calib, gram=True)
    chosen = removal.choose_units(model, units, sparsity, "wanda", statistics=statistics)
    _check_any(units, sparsity, [unit for layer in chosen.values() for unit in layer])
    return removal.remove_units(model, units, chosen, statistics=statistics)


def _check_any(kind: str, share: float, chosen: Sequence[int]) -> None:
    if share > 0 and not chosen:
        raise ValueError(f"sparsity={share} is less than one of the {kind}: nothing would be removed")


for _kind in ("heads", "neurons", "layers"):
    register(Program(_kind, partial(shrink, units=_kind), uses=("calibration", "region")))
