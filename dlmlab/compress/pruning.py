"""Pruning single weights: scores, selection, schedules, and what it costs to store the result.

Decisions
* Score, selection and schedule are separate: methods are compared at equal granularity, because granularity alone
  changes the result. Default: the k lowest scores of each output row (Wanda's choice).
* Everything works on `(W, statistics)` first; `prune` applies it to the seven matrices of each block of a copy of the
  model. Embedding, head and norms are never touched.
* Nothing falls back to the dense model: an unknown method, a sparsity that contradicts n:m or a method without its
  calibration raises `ValueError`.

Sources: Sun et al., Wanda, arXiv 2306.11695; Frantar and Alistarh, SparseGPT, arXiv 2301.00774; Yin et al., OWL, arXiv
2310.05175; layer schedules of diffusion models: Conzel et al., arXiv 2605.06366.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dlmlab.compress import activations, moments, sparsegpt
from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet
from dlmlab.compress.selection import check_request, n_of_m, select, select_global
from dlmlab.network.model import LLaDAModelLM

METHODS = ("random", "magnitude", "wanda", "wanda_refit", "sparsegpt")
MATRICES = tuple(name for names in activations.SITES.values() for name in names)
MAX_SPARSITY = 0.95  # of one layer, in a schedule
DAMP = 0.01  # ridge of the refit and of SparseGPT, as a share of the mean second moment

# ------------------------------------------------------------------------------------------------ scores


def random_scores(W: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a score for each weight: the floor that every method must beat."""
    return torch.rand(W.shape, generator=generator)


def wanda_scores(W: Tensor, norms: Tensor) -> Tensor:
    """Score weights by |W| times the norm of the feature they multiply, (R, C) and (C,) -> (R, C).

    Source: arXiv 2306.11695, equation 1.
    """
    return W.abs() * norms.to(W.dtype)


# ------------------------------------------------------------------------------------------------ least squares


def least_squares_refit(W: Tensor, removed: Tensor, gram: Tensor, *, damp: float = DAMP) -> Tensor:
    """Give the surviving weights of each row the values that best repeat the dense output, (R, C).

        w_K <- argmin |X_K w_K - X w|^2 + ridge = (G_KK + ridge I)^-1 (G w + ridge w)_K,  G = X^T X

    with ridge = damp * mean(diag G), pulling towards the old weights. Exact for a fixed mask: the upper baseline of
    what any weight update can reach. Weights of a dead feature stay as they are. Shapes: W, removed (R, C), gram
    (C, C). Raises `ValueError` when the kept weights are not determined, and as `moments.damped`.
    """
    G, _ = moments.damped(gram, damp)
    target = W.double() @ G  # (R, C)
    most = int((~removed).sum(1).max())
    order = removed.to(torch.int8).argsort(dim=1, stable=True)[:, :most]  # kept columns first, (R, most)
    pad = removed.gather(1, order)  # rows that keep fewer: solved as an identity
    out = torch.zeros(W.shape, dtype=torch.float64)
    for rows in torch.arange(len(W)).split(32):
        K, p = order[rows], pad[rows]
        A = G[K[:, :, None], K[:, None, :]]  # (r, most, most)
        A = A.masked_fill(p[:, :, None] | p[:, None, :], 0.0) + torch.diag_embed(p.double())
        moments.cholesky(A, damp)  # refuses what is singular
        b = target[rows].gather(1, K).masked_fill(p, 0.0)
        out[rows] = out[rows].scatter(1, K, torch.linalg.solve(A, b[..., None])[..., 0])
    return out.to(W.dtype)


# ------------------------------------------------------------------------------------------------ schedules


def layer_sparsities(sparsity: float, importance: list[float], *, width: float = 0.1) -> list[float]:
    """Share a mean sparsity among layers: the more important, the denser.

        s_l = s + width (1 - 2 i_l),  i = importance scaled to [0, 1],  then shifted so that the mean is s

    Equal importance gives the uniform schedule, the depth 0..L-1 gives earlier-is-sparser, minus the depth
    deeper-is-sparser, outlier ratios give OWL. Values are kept within [0, .95] and the rest shifted again, so the mean
    is exactly s. Raises `ValueError` when no such schedule exists.

    >>> layer_sparsities(0.5, [0, 1, 2])
    [0.6, 0.5, 0.4]
    """
    check_request(sparsity)
    if sparsity > MAX_SPARSITY:
        raise ValueError(f"a mean sparsity of {sparsity} needs a layer above {MAX_SPARSITY}")
    values = torch.tensor(list(importance), dtype=torch.float64)
    if not len(values) or not bool(torch.isfinite(values).all()) or not math.isfinite(width):
        raise ValueError(f"importance={values.tolist()} and width={width} must be finite, one importance a layer")
    spread = values.max() - values.min()
    scaled = (values - values.min()) / spread if spread > 0 else torch.full_like(values, 0.5)
    s = sparsity + width * (1 - 2 * scaled)
    for _ in range(100):  # each round leaves less to shift
        s = (s + sparsity - s.mean()).clamp(0, MAX_SPARSITY)
        if abs(float(s.mean()) - sparsity) < 1e-12:
            break
    return [round(v, 12) for v in s.tolist()]


def outlier_ratio(W: Tensor, norms: Tensor, *, M: float = 5.0) -> float:
    """Share of Wanda scores above M times their mean: OWL's measure of a layer (arXiv 2310.05175)."""
    A = wanda_scores(W, norms)
    return float((A > M * A.mean()).double().mean())


def outlier_ratios(model: LLaDAModelLM, statistics: dict[str, Statistics]) -> list[float]:
    """Outlier ratio of each block, the mean over its matrices weighted by size."""
    ratios = []
    for layer, block in enumerate(model.model.transformer["blocks"]):
        parts = [(getattr(block, name).weight, statistics[f"blocks.{layer}.{name}"].rms) for name in MATRICES]
        total = sum(W.numel() for W, _ in parts)
        ratios.append(sum(outlier_ratio(W.detach(), norms) * W.numel() for W, norms in parts) / total)
    return ratios


# ------------------------------------------------------------------------------------------------ models


@dataclass(frozen=True)
class Recipe:
    """How to prune: `method` of `METHODS`; mean `sparsity`; `pattern` row, layer, global or n:m; `statistic` of Wanda,
    `rms` or the sum of `norms`; `sequential`, each layer seeing the errors of those before it; `block` of SparseGPT,
    the columns whose mask is chosen together (128 as published; None: `sparsegpt.default_block`)."""

    method: str
    sparsity: float
    pattern: str = "row"
    statistic: str = "rms"
    sequential: bool = True
    block: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is unknown; known: {', '.join(METHODS)}")
        check_request(self.sparsity, self.pattern)
        if self.statistic not in ("rms", "norms"):
            raise ValueError(f"statistic={self.statistic!r} is unknown; known: rms, norms")
        if self.method == "sparsegpt" and self.pattern in ("layer", "global"):
            raise ValueError(f"sparsegpt selects inside blocks of columns: pattern={self.pattern!r} is not possible")
        if self.block is not None and self.method != "sparsegpt":
            raise ValueError(
                f"block={self.block} is of sparsegpt alone: method {self.method!r} has no blocks of columns"
            )
        sparsegpt.check_block(self.block, self.pattern)
        if self.pattern == "global" and (self.method == "wanda_refit" or self.sequential):
            raise ValueError("pattern='global' needs all scores at once: take sequential=False and no refit")

    @property
    def needs_texts(self) -> bool:
        return self.method not in ("random", "magnitude")


def prune_matrix(
    W: Tensor,
    recipe: Recipe,
    statistics: Statistics | None = None,
    *,
    sparsity: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Prune one matrix and return the new one, (R, C). `sparsity` replaces the recipe's (for a schedule).

    Raises `ValueError` for a method without its statistics or generator, and for weights or statistics that are not
    finite.
    """
    sparsity = recipe.sparsity if sparsity is None else sparsity
    if sparsity == 0:
        return W.clone()
    if not bool(torch.isfinite(W).all()):
        raise ValueError("the weights hold nan or inf")
    if recipe.needs_texts and statistics is None:
        raise ValueError(f"method {recipe.method!r} needs statistics of a calibration set")
    if recipe.method == "sparsegpt":
        gram = statistics.second_moments("the matrix")
        return sparsegpt.sparsegpt(W, gram, sparsity, pattern=recipe.pattern, block=recipe.block, damp=DAMP)
    removed = select(matrix_scores(W, recipe, statistics, generator), sparsity, recipe.pattern)
    if recipe.method == "wanda_refit":
        return least_squares_refit(W, removed, statistics.second_moments("the matrix"))
    return W.masked_fill(removed, 0.0)


def matrix_scores(
    W: Tensor, recipe: Recipe, statistics: Statistics | None, generator: torch.Generator | None
) -> Tensor:
    """Score one matrix by the method of the recipe (SparseGPT scores while it prunes)."""
    if recipe.method == "random":
        if generator is None:
            raise ValueError("method 'random' needs generator=torch.Generator().manual_seed(...)")
        return random_scores(W, generator)
    if recipe.method == "magnitude":
        return W.abs()
    statistics.check("the matrix")
    return wanda_scores(W, statistics.rms if recipe.statistic == "rms" else statistics.sum_norm)


@torch.no_grad()
def prune(
    model: LLaDAModelLM,
    recipe: Recipe,
    *,
    calib: CalibrationSet | None = None,
    weights: Tensor | None = None,
    layers: Sequence[float] | None = None,
    statistics: dict[str, Statistics] | None = None,
    generator: torch.Generator | None = None,
) -> LLaDAModelLM:
    """Return a pruned copy of the model.

    Methods that look at activations need `calib`, with token `weights` (N, L) or without, or ready `statistics` of the
    dense model (then `sequential` must be False). `layers`: a sparsity for each block in place of the recipe's. Raises
    `ValueError` when a method lacks what it needs, and see `walk`, `select`.
    """
    model = copy.deepcopy(model)
    blocks = model.model.transformer["blocks"]
    plan = [recipe.sparsity] * len(blocks) if layers is None else list(layers)
    if len(plan) != len(blocks):
        raise ValueError(f"layers needs {len(blocks)} values, got {plan}")
    if layers is not None and n_of_m(recipe.pattern):
        raise ValueError(f"layers needs a pattern other than n:m, got {recipe.pattern}")
    if recipe.needs_texts and calib is None and statistics is None:
        raise ValueError(f"method {recipe.method!r} looks at activations: it needs calib=calibration_set(...)")
    if statistics is not None and recipe.sequential:
        raise ValueError("ready statistics are those of the dense model: take sequential=False")
    if recipe.pattern == "global":
        if recipe.needs_texts and statistics is None:
            statistics = activations.collect(model, calib, weights=weights)
        return _prune_global(model, recipe, statistics or {}, generator)
    for layer, found in _visits(model, recipe, calib, weights, statistics):
        for name in MATRICES:
            W = getattr(blocks[layer], name).weight
            try:
                W.copy_(prune_matrix(W, recipe, found.get(name), sparsity=plan[layer], generator=generator))
            except ValueError as error:
                raise ValueError(f"blocks.{layer}.{name}: {error}") from error
    return model


def _visits(model: LLaDAModelLM, recipe: Recipe, calib, weights, statistics):
    layers = range(len(model.model.transformer["blocks"]))
    if not recipe.needs_texts:
        return ((layer, {}) for layer in layers)
    if statistics is not None:
        return ((layer, {name: statistics[f"blocks.{layer}.{name}"] for name in MATRICES}) for layer in layers)
    gram = recipe.method in ("sparsegpt", "wanda_refit")
    return activations.walk(model, calib, weights=weights, gram=gram, sequential=recipe.sequential)


def _prune_global(model: LLaDAModelLM, recipe: Recipe, statistics, generator) -> LLaDAModelLM:
    matrices = dict(prunable(model))
    scores = {n: matrix_scores(W, recipe, statistics.get(n), generator) for n, W in matrices.items()}
    for name, removed in select_global(scores, recipe.sparsity).items():
        matrices[name].masked_fill_(removed, 0.0)
    return model


def prunable(model: nn.Module) -> list[tuple[str, Tensor]]:
    """List the matrices that pruning may change, by name: seven in each block."""
    blocks = model.model.transformer["blocks"]
    return [(f"blocks.{i}.{name}", getattr(block, name).weight) for i, block in enumerate(blocks) for name in MATRICES]


def sparsity_of(model: nn.Module) -> float:
    """Measure the share of zeros among the prunable weights."""
    matrices = [W for _, W in prunable(model)]
    return sum(int((W == 0).sum()) for W in matrices) / sum(W.numel() for W in matrices)
