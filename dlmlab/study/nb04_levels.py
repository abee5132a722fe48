"""Notebook 04: masks made at one noise level, their agreement, and masks that adapt to it."""

from pathlib import Path

import torch

from dlmlab.compress import activations, adaptive, pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure import store
from dlmlab.measure.store import Say, fill
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.nb04_pruning import PAIRED_PROBLEMS, SEEDS, answer_bound, dense, texts

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def at_level(t: float, seed: int, half: int | None = None) -> LLaDAModelLM:
    """Prune half of the weights with texts of one noise level, all of them or one half."""
    calib = texts(f"t:{t}", seed, "answer")
    calib = calib if half is None else adaptive.halves(calib)[half]
    return pruning.prune(dense(), Recipe("wanda", 0.5, sequential=False), calib=calib)


def agreements(seed: int) -> dict:
    """Agreement of masks between noise levels, from disjoint halves of the texts; the diagonal is the floor."""
    first, second = ([at_level(t, seed, half) for t in LEVELS] for half in (0, 1))
    return {"agreement": [[round(adaptive.removed_agreement(a, b), 4) for b in second] for a in first]}


def adaptive_model(kind: str, seed: int):
    """Make one model of the comparison of time-adaptive masks, at half of the weights, one shot."""
    recipe = Recipe("wanda", 0.5, sequential=False)
    calib = texts("uniform", seed, "answer")
    if kind == "one mask":
        return pruning.prune(dense(), recipe, calib=calib)
    if kind in ("weight t", "weight 1 - t"):
        weights = adaptive.time_weights(calib, lambda t: t if kind == "weight t" else 1 - t)
        return pruning.prune(dense(), recipe, calib=calib, weights=weights)
    if kind == "largest over levels":
        levels = [activations.collect(dense(), texts(f"t:{t}", seed, "answer")) for t in LEVELS]
        return pruning.prune(dense(), recipe, statistics=adaptive.robust(levels))
    noisy = calib.t > 0.5
    if kind == "two masks, random levels":
        noisy = noisy[torch.randperm(len(noisy), generator=torch.Generator().manual_seed(seed))]
    parts = [calib.rows(pick.nonzero()[:, 0]) for pick in (noisy, ~noisy)]
    return adaptive.Switched(*(pruning.prune(dense(), recipe, calib=part) for part in parts), tau=0.5)


ADAPTIVE = ("one mask", "two masks", "two masks, random levels", "largest over levels", "weight t", "weight 1 - t")


def timesteps(say: Say = print, path: Path = store.RESULTS / "04_timesteps.json") -> None:
    """Agreement of masks between noise levels, and what time-adaptive masks gain; three seeds; likelihood only."""

    def measure(kind: str, seed: int) -> dict:
        model = adaptive_model(kind, seed)
        models = [model.noisy, model.clean] if isinstance(model, adaptive.Switched) else [model]
        return {"nats": answer_bound(model, problems=PAIRED_PROBLEMS), "bytes": adaptive.union_bytes(models)}

    def jobs():
        for seed in SEEDS:
            yield {"kind": "agreement", "seed": seed}, lambda s=seed: agreements(s)
            for kind in ADAPTIVE:
                yield {"kind": kind, "seed": seed}, lambda k=kind, s=seed: measure(k, s)

    fill(path, jobs(), say)
