"""Pruning methods by name, from texts to a pruned model: what `python -m dlmlab prune` offers.

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

import torch
from transformers import PreTrainedTokenizerBase

from dlmlab.compress import activations, structured
from dlmlab.compress.calibration import (
    CalibrationSet,
    calibration_set,
    mean_over_levels,
    sink_scores,
    token_weights,
    trajectory_set,
)
from dlmlab.compress.pruning import Recipe, prune
from dlmlab.network.model import LLaDAModelLM
from dlmlab.task.tasks import Problem

PLAIN = {"random": "random", "magnitude": "magnitude", "wanda": "wanda", "wanda-refit": "wanda_refit"} | {
    "sparsegpt": "sparsegpt"
}
SINK = ("sink-wanda", "sink-wanda-paper", "sink-wanda-consistent", "sink-sparsegpt", "sink-sparsegpt-consistent")
STRUCTURED = ("heads", "neurons", "layers")
NAMES = (*PLAIN, *SINK, *STRUCTURED)


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
    """Prune a copy of the model by a named method.

    `sparsity` is the share of weights in the blocks, for `heads`, `neurons` and `layers` the share of units. `block`:
    columns of SparseGPT whose mask is chosen together. Raises `ValueError` for an unknown name and whatever the method
    cannot do.
    """
    if name in PLAIN:
        recipe = Recipe(PLAIN[name], sparsity, pattern, block=block)
        calib = texts.states(model) if recipe.needs_texts else None
        return prune(model, recipe, calib=calib, generator=texts.generator())
    if name in SINK:
        return sink_aware(model, name, sparsity, texts=texts, pattern=pattern, block=block)
    if name in STRUCTURED:
        for option, value, default in (("pattern", pattern, "row"), ("block", block, None)):
            if value != default:
                raise ValueError(f"method {name!r} removes whole units: {option}={value!r} has no meaning")
        return shrink(model, name, sparsity, texts=texts)
    raise ValueError(f"method {name!r} is unknown; known: {', '.join(NAMES)}")


def sink_aware(
    model: LLaDAModelLM,
    name: str,
    sparsity: float,
    *,
    texts: Texts,
    pattern: str = "row",
    block: int | None = None,
) -> LLaDAModelLM:
    """Prune with the token weights of Sink-Aware Pruning, in one of the five variants above."""
    if name in ("sink-wanda", "sink-wanda-paper"):
        recipe = Recipe("wanda", sparsity, pattern, statistic="norms", sequential=False, block=block)
    else:
        recipe = Recipe("sparsegpt" if "sparsegpt" in name else "wanda", sparsity, pattern, block=block)
    grid = texts.states(model, "grid")
    phi, calib = sink_scores(model, grid), grid
    if name in ("sink-wanda-paper", "sink-sparsegpt"):
        phi = mean_over_levels(phi, grid)
    if name == "sink-sparsegpt":  # scored on noised texts, applied to clean ones
        calib = texts.states(model, "clean")
        phi = phi[: len(calib)]  # the first level holds every text once, in order
    weights = token_weights("sink", calib, phi=phi)
    return prune(model, recipe, calib=calib, weights=weights)


def shrink(model: LLaDAModelLM, units: str, share: float, *, texts: Texts) -> LLaDAModelLM:
    """Remove the share of heads or neurons with the lowest Wanda sums (with refit), or layers by block influence.

    Raises `ValueError` for a share outside [0, 1), or one so small that nothing would go.
    """
    if not 0 <= share < 1:
        raise ValueError(f"sparsity={share} is outside [0, 1)")
    calib = texts.states(model)
    if units == "layers":
        influence = structured.block_influence(model, calib)
        order = sorted(range(len(influence)), key=influence.__getitem__)
        lowest = order[: int(share * len(order) + 1e-9)]
        _check_any(units, share, lowest)
        return structured.remove_layers(model, lowest)
    statistics = activations.collect(model, calib, gram=True)
    chosen = structured.choose_units(model, units, share, "wanda", statistics=statistics)
    _check_any(units, share, [unit for layer in chosen.values() for unit in layer])
    return structured.remove_units(model, units, chosen, statistics=statistics)


def _check_any(units: str, share: float, chosen: Sequence[int]) -> None:
    if share > 0 and not chosen:
        raise ValueError(f"sparsity={share} is less than one of the {units}: nothing would be removed")
