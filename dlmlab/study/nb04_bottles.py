"""Notebook 04: the token weights of the ablation where a sink is certain, in the bottles of notebook 03.

A row is one pruned bottle: Wanda, one shot, on the bottle's own texts. `nats` has a mean for each of `GROUPS` groups of
fresh texts: of the causal bottle the loss of all next symbols of a text, of the diffusion bottle the bound of
`noise.bound_by_count`. The seed is that of the bottle's training, and draws everything else too.

Training takes too long to be repeated live. So the rows that are repeated have a column `begin`: the same measurement
of a bottle that was trained for `BEGIN` steps only.
"""

from dataclasses import replace
from functools import cache

import torch

from dlmlab.attention import backcopy
from dlmlab.attention.backcopy import MASK, RECIPES
from dlmlab.compress import activations, calibration, pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure.table import Table
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective import likelihood, noise
from dlmlab.study.nb03_bottles import SEEDS, trained
from dlmlab.study.nb04_sinks import MAIN, MOST, SPARSITIES, against_controls

BOTTLES = ("causal", "short")  # the diffusion bottle after a third of its steps: ten seeds in minutes
REST = ("inverted", "masks", "visible")
TEXTS, GROUPS = 1024, 64  # fresh texts of a row, and how many means of them it keeps
CLEAN_TEXTS, GRID_TEXTS = 64, 16  # for calibration: one state a text, and ten
BEGIN = 60  # training steps of a live slice


def kinds(bottle: str) -> tuple[str, ...]:
    """List the token weights that have a meaning for a bottle."""
    return MAIN + (REST if bottle == "short" else REST[:1])


def states(bottle: str, seed: int) -> calibration.CalibrationSet:
    """Draw calibration texts of the bottle's language, clean for the causal one, else at ten noise levels each."""
    generator = torch.Generator().manual_seed(30_000 + seed)
    recipe, clean = RECIPES[bottle], bottle == "causal"
    x0 = recipe.texts(CLEAN_TEXTS if clean else GRID_TEXTS, generator=generator)
    return calibration.token_set(
        x0, "clean" if clean else "grid", mask_id=MASK, maskable=backcopy.maskable(x0), generator=generator
    )


def collected(model: LLaDAModelLM, bottle: str, seed: int) -> dict[str, dict]:
    """Collect the statistics of a bottle under every weight."""
    calib, generator = states(bottle, seed), torch.Generator().manual_seed(40_000 + seed)
    phi = calibration.sink_scores(model, calib)
    weights = [calibration.token_weights(k, calib, phi=phi, generator=generator) for k in kinds(bottle)]
    return dict(zip(kinds(bottle), activations.collect_each(model, calib, weights), strict=True))


def text_nats(model: LLaDAModelLM, bottle: str, seed: int) -> list[float]:
    """Measure the loss of fresh texts in nats a text, one mean for each group."""
    generator = torch.Generator().manual_seed(50_000 + seed)
    x0 = RECIPES[bottle].texts(TEXTS, generator=generator)
    if bottle == "causal":
        nats = torch.cat([likelihood.next_token_nats(model, part).sum(1) for part in x0.split(256)])
    else:
        allowed = backcopy.maskable(x0)
        nats = noise.bound_by_count(model, x0, allowed, draws=1, generator=generator, batch_size=256)[:, 0]
    return [round(v, 5) for v in nats.view(GROUPS, -1).mean(1).tolist()]


@cache
def whole(bottle: str, seed: int) -> tuple[LLaDAModelLM, dict[str, dict]]:
    """Train a bottle (or read it) and collect its statistics."""
    model = trained(bottle, seed)[0]
    return model, collected(model, bottle, seed)


@cache
def young(bottle: str, seed: int) -> tuple[LLaDAModelLM, dict[str, dict]]:
    """Train a bottle for `BEGIN` steps and collect its statistics."""
    model = backcopy.train(replace(RECIPES[bottle], steps=BEGIN), seed=seed)
    return model, collected(model, bottle, seed)


def settings() -> list[dict]:
    """List every bottle under every weight: the main ones over all sparsities, the rest at the highest."""
    return [
        {"bottle": bottle, "weight": weight, "sparsity": sparsity, "seed": seed}
        for bottle in BOTTLES
        for seed in range(SEEDS)
        for weight in ("dense", *kinds(bottle))
        for sparsity in ((0.0,) if weight == "dense" else SPARSITIES if weight in MAIN else (MOST,))
    ]


def run(bottle: str, weight: str, sparsity: float, seed: int, size: int | None = None) -> dict:
    """Prune and measure one bottle; given a `size`, or where a row is repeated live, (also) a young one."""
    key = {"bottle": bottle, "weight": weight, "sparsity": sparsity, "seed": seed}
    found = {} if size else {"nats": text_nats(pruned(*whole(bottle, seed), weight, sparsity), bottle, seed)}
    if size or key in LIVE:
        found["begin"] = text_nats(pruned(*young(bottle, seed), weight, sparsity), bottle, seed)
    return found


def pruned(model: LLaDAModelLM, statistics: dict[str, dict], weight: str, sparsity: float) -> LLaDAModelLM:
    """Prune a bottle by Wanda with the statistics of one weight."""
    if weight == "dense":
        return model
    return pruning.prune(model, Recipe("wanda", sparsity, sequential=False), statistics=statistics[weight])


LIVE = (
    {"bottle": "causal", "weight": "preserve", "sparsity": 0.7, "seed": 0},
    {"bottle": "short", "weight": "masks", "sparsity": 0.7, "seed": 1},
)
BOTTLE_TABLE = Table(
    "04_bottle_sinks",
    settings,
    run,
    live=LIVE,
    size=BEGIN,
    tolerance={"begin": (0.01, 0.005)},
    headlines=lambda rows: {k: v for b in BOTTLES for k, v in against_controls(rows, b, bottle=b).items()},
)
