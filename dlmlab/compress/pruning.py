"""Pruning single weights: the methods, what they are told, and what they make of a model.

Decisions
* Score, selection, schedule and repair are separate: methods are compared at equal granularity, because granularity
  alone changes the result. Default: the k lowest scores of each output row (Wanda's choice).
* Everything works on `(W, statistics)` first; `prune` applies it to the matrices of each block of a copy of the model.

Sources: Sun et al., Wanda, arXiv 2306.11695; Frantar and Alistarh, SparseGPT, arXiv 2301.00774.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dlmlab.compress import activations, scores, sparsegpt
from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet
from dlmlab.compress.refit import DAMP, least_squares_refit
from dlmlab.compress.registry import Method, compress, matrix_method, register
from dlmlab.compress.selection import check_request, n_of_m, select, select_global
from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM
from dlmlab.network.packed import check_dense

# ------------------------------------------------------------------------------------------------ what a method is told


@dataclass(frozen=True)
class Recipe:
    """How to prune: a registered `method`; mean `sparsity`; `pattern` row, layer, global or n:m; `statistic` of Wanda,
    `rms` or the sum of `norms`; `sequential`, each layer seeing the errors of those before it; `block` of SparseGPT,
    the columns whose mask is chosen together (128 as published; None: `sparsegpt.default_block`)."""

    method: str
    sparsity: float
    pattern: str = "row"
    statistic: str = "rms"
    sequential: bool = True
    block: int | None = None

    def __post_init__(self) -> None:
        method = matrix_method(self.method, "prune")
        check_request(self.sparsity, self.pattern)
        if self.statistic not in ("rms", "norms"):
            raise ValueError(f"statistic={self.statistic!r} is unknown; known: rms, norms")
        if self.pattern == "layer" and "layer" not in method.uses:
            raise ValueError(
                f"pattern='layer' is not possible: method {self.method!r} compares weights of a row at most"
            )
        if self.block is not None and "block" not in method.uses:
            raise ValueError(f"block={self.block}: method {self.method!r} has no blocks of columns, sparsegpt has")
        sparsegpt.check_block(self.block, self.pattern)
        if self.pattern == "global" and (method.score is None or self.sequential):
            raise ValueError(
                f"pattern='global' is not possible: it needs all scores at once, so sequential=False and a method that "
                f"only scores, got {self.method!r} with sequential={self.sequential}"
            )


# ------------------------------------------------------------------------------------------------ methods

Score = Callable[[Tensor, Statistics | None, Recipe, torch.Generator | None], Tensor]


def by_score(
    name: str, score: Score, *, needs: str | None = None, refit: bool = False, uses: tuple[str, ...] = ()
) -> Method:
    """Make a method that removes the lowest scores, and refits the rest by least squares or leaves it as it is."""

    def apply(W: Tensor, statistics: Statistics | None, recipe: Recipe, generator: torch.Generator | None) -> Tensor:
        if recipe.sparsity == 0:
            return W.clone()
        removed = select(score(W, statistics, recipe, generator), recipe.sparsity, recipe.pattern)
        return least_squares_refit(W, removed, statistics.gram) if refit else W.masked_fill(removed, 0.0)

    return Method(name, needs, apply, None if refit else score, uses=("layer", *uses))


def _random(W, statistics, recipe, generator):
    if generator is None:
        raise ValueError("method 'random' needs generator=torch.Generator().manual_seed(...)")
    return scores.random_scores(W, generator)


def _magnitude(W, statistics, recipe, generator):
    return W.abs()


def _wanda(W, statistics, recipe, generator):
    return scores.wanda_scores(W, statistics.rms if recipe.statistic == "rms" else statistics.sum_norm)


def _sparsegpt(W, statistics, recipe, generator):
    return sparsegpt.sparsegpt(
        W, statistics.gram, recipe.sparsity, pattern=recipe.pattern, block=recipe.block, damp=DAMP
    )


register(by_score("random", _random, uses=("seed",)))
register(by_score("magnitude", _magnitude))
register(by_score("wanda", _wanda, needs="sums"))
register(by_score("magnitude_refit", _magnitude, needs="gram", refit=True))
register(by_score("wanda_refit", _wanda, needs="gram", refit=True))
register(Method("sparsegpt", "gram", _sparsegpt, uses=("block",)))


# ------------------------------------------------------------------------------------------------ models


def prune_matrix(
    W: Tensor, recipe: Recipe, statistics: Statistics | None = None, *, generator: torch.Generator | None = None
) -> Tensor:
    """Prune one matrix and return the new one, (R, C).

    Raises `ValueError` for a method without its statistics or generator, and for weights or statistics that are not
    finite.
    """
    method = matrix_method(recipe.method)
    method.check(W, statistics)
    return method.apply(W, statistics, recipe, generator)


def prune(
    model: LLaDAModelLM,
    recipe: Recipe,
    *,
    calib: CalibrationSet | None = None,
    weights: Tensor | None = None,
    layers: Sequence[float] | None = None,
    statistics: dict[str, Statistics] | None = None,
    generator: torch.Generator | None = None,
    device: str | None = None,
) -> LLaDAModelLM:
    """Return a pruned copy of the model.

    `calib`, `weights`, `statistics`, `device`: as in `registry.compress`. `layers`: a sparsity for each block in place
    of the recipe's. Raises `ValueError` when a method lacks what it needs, and see `select`.
    """
    if layers is not None and n_of_m(recipe.pattern):
        raise ValueError(f"layers needs a pattern other than n:m, got {recipe.pattern}")
    if recipe.pattern == "global":
        if layers is not None:
            raise ValueError("layers says how much each one loses, and pattern='global' lets the scores decide it")
        if device is not None:
            raise ValueError(f"device={device!r} visits block by block, and pattern='global' compares all of them")
        return _prune_global(model, recipe, calib, weights, statistics, generator)
    plan = recipe if layers is None else [replace(recipe, sparsity=s) for s in layers]
    found = {"calib": calib, "weights": weights, "statistics": statistics, "generator": generator}
    return compress(model, recipe.method, plan, sequential=recipe.sequential, device=device, **found)


@torch.no_grad()
def _prune_global(model: LLaDAModelLM, recipe: Recipe, calib, weights, statistics, generator) -> LLaDAModelLM:
    method, model = matrix_method(recipe.method), copy.deepcopy(check_dense(model))
    if method.needs and statistics is None:
        if calib is None:
            raise ValueError(f"method {recipe.method!r} looks at activations: it needs calib=calibration_set(...)")
        statistics = activations.collect(model, calib, weights=weights, gram=method.needs == "gram")
    found, matrices = {}, parts.weights(model)
    for name, W in matrices.items():
        inputs = statistics[name] if method.needs else None
        method.check(W, inputs)
        found[name] = method.score(W, inputs, recipe, generator)
    for name, removed in select_global(found, recipe.sparsity).items():
        matrices[name].masked_fill_(removed, 0.0)
    return model


def sparsity_of(model: nn.Module) -> float:
    """Measure the share of zeros among the weights that compression may change."""
    matrices = parts.weights(model).values()
    return sum(int((W == 0).sum()) for W in matrices) / sum(W.numel() for W in matrices)
