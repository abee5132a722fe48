"""Notebook 04: masks made at one noise level, their agreement, and masks that adapt to it."""

from collections.abc import Sequence

import torch

from dlmlab.compress import activations, levels, pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure.table import Table
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import SEEDS, TOLERANCE, answer_bound, dense, texts

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def at_level(t: float, seed: int, half: int | None = None) -> LLaDAModelLM:
    """Prune half of the weights with texts of one noise level, all of them or one half."""
    calib = texts(f"t:{t}", seed, "answer")
    calib = calib if half is None else calib.rows(calib.text % 2 == half)
    return pruning.prune(dense(), Recipe("wanda", 0.5, sequential=False), calib=calib)


def agreements(seed: int, at: Sequence[float]) -> dict:
    """Agreement of masks between noise levels, from disjoint halves of the texts; the diagonal is the floor."""
    first, second = ([at_level(t, seed, half) for t in at] for half in (0, 1))
    return {"agreement": [[round(levels.removed_agreement(a, b), 4) for b in second] for a in first]}


def adaptive_model(kind: str, seed: int):
    """Make one model of the comparison of time-adaptive masks, at half of the weights, one shot."""
    recipe = Recipe("wanda", 0.5, sequential=False)
    calib = texts("uniform", seed, "answer")
    if kind == "one mask":
        return pruning.prune(dense(), recipe, calib=calib)
    if kind in ("weight t", "weight 1 - t"):
        weights = levels.time_weights(calib, lambda t: t if kind == "weight t" else 1 - t)
        return pruning.prune(dense(), recipe, calib=calib, weights=weights)
    if kind == "largest over levels":
        found = [activations.collect(dense(), texts(f"t:{t}", seed, "answer")) for t in LEVELS]
        return pruning.prune(dense(), recipe, statistics=levels.robust(found))
    noisy = calib.t > 0.5
    if kind == "two masks, random levels":
        noisy = noisy[torch.randperm(len(noisy), generator=torch.Generator().manual_seed(seed))]
    parts = [calib.rows(pick.nonzero()[:, 0]) for pick in (noisy, ~noisy)]
    return levels.Switched(*(pruning.prune(dense(), recipe, calib=part) for part in parts), tau=0.5)


ADAPTIVE = ("one mask", "two masks", "two masks, random levels", "largest over levels", "weight t", "weight 1 - t")


def run(kind: str, seed: int, size: int | None = None) -> dict:
    """Measure the agreement of masks between noise levels, or what one way to adapt to them gains."""
    if kind == "agreement":
        return agreements(seed, LEVELS[: size and 2])
    model = adaptive_model(kind, seed)
    models = [model.noisy, model.clean] if isinstance(model, levels.Switched) else [model]
    nats = answer_bound(model, size=size)
    return {"nats": nats, "bytes": levels.union_bytes(models)}


TABLE = Table(
    "04_timesteps",
    lambda: [{"kind": kind, "seed": seed} for seed in SEEDS for kind in ("agreement", *ADAPTIVE)],
    run,
    live=[{"kind": kind, "seed": 0} for kind in ("agreement", "two masks", "weight 1 - t")],
    size=6,
    tolerance=TOLERANCE | {"agreement": (0.002, 0.0)},
)
