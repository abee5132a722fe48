"""Notebook 04: how the sparsity is shared among layers, for both models."""

from functools import cache
from pathlib import Path

import torch

from dlmlab.compress import activations, calibration, pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure import store
from dlmlab.measure.store import Say, fill
from dlmlab.study.nb04_pruning import PAIRED_PROBLEMS, SEEDS, answer_bound, dense, texts

SCHEDULES = ("uniform", "earlier is sparser", "deeper is sparser", "OWL", "sensitivity", "shuffled sensitivity")


def twin_texts(name: str, seed: int) -> calibration.CalibrationSet:
    """Texts a model can be calibrated on: noised for the diffusion model, clean for its twin."""
    return texts("uniform", seed, "answer") if name == "llada-mini" else texts("clean", seed)


@cache
def sensitivity(name: str) -> list[float]:
    """How much the validation loss rises, in nats, when Wanda prunes half of one layer and nothing else."""
    model, calib = dense(name), twin_texts(name, 0)

    def loss(m) -> float:
        return sum(answer_bound(m, problems=16, split="validation")) / 16

    base, layers = loss(model), model.config.n_layers
    only = [[0.5 * (i == j) for i in range(layers)] for j in range(layers)]
    return [loss(pruning.prune(model, Recipe("wanda", 0.5), calib=calib, layers=plan)) - base for plan in only]


def schedule(name: str, kind: str, sparsity: float, seed: int) -> list[float]:
    """Share a sparsity among the layers of a model by one of `SCHEDULES`."""
    model = dense(name)
    depth = list(range(model.config.n_layers))
    if kind == "OWL":
        ratios = pruning.outlier_ratios(model, activations.collect(model, twin_texts(name, seed)))
        return pruning.layer_sparsities(sparsity, ratios, width=0.08)
    if "sensitivity" in kind:
        importance = sensitivity(name)
        if kind.startswith("shuffled"):
            order = torch.randperm(len(importance), generator=torch.Generator().manual_seed(seed)).tolist()
            importance = [importance[i] for i in order]
    else:
        sign = {"uniform": 0, "earlier is sparser": 1, "deeper is sparser": -1}[kind]
        importance = [sign * d for d in depth]
    return pruning.layer_sparsities(sparsity, importance, width=0.1)


def schedules(say: Say = print, path: Path = store.RESULTS / "04_schedules.json") -> None:
    """Prune both models to the same mean sparsity with every schedule, three calibration seeds; likelihood only."""

    def measure(name: str, kind: str, seed: int) -> dict:
        plan = schedule(name, kind, 0.5, seed)
        model = pruning.prune(dense(name), Recipe("wanda", 0.5), calib=twin_texts(name, seed), layers=plan)
        return {"layers": plan, "nats": answer_bound(model, problems=PAIRED_PROBLEMS)}

    def jobs():
        for seed in SEEDS:
            for kind in SCHEDULES:
                for name in ("llada-mini", "llama-mini"):
                    yield {"model": name, "schedule": kind, "seed": seed}, lambda c=(name, kind, seed): measure(*c)

    fill(path, jobs(), say)
