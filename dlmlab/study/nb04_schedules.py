"""Notebook 04: how the sparsity is shared among layers, for both models."""

from functools import cache

import torch

from dlmlab.compress import activations, calibration, pruning, scores
from dlmlab.compress.pruning import Recipe
from dlmlab.compress.schedules import layer_sparsities
from dlmlab.measure.table import Table
from dlmlab.study.judging import SEEDS, TOLERANCE, answer_bound, dense, texts

SCHEDULES = ("uniform", "earlier is sparser", "deeper is sparser", "OWL", "sensitivity", "shuffled sensitivity")


def twin_texts(name: str, seed: int) -> calibration.CalibrationSet:
    """Texts a model can be calibrated on: noised for the diffusion model, clean for its twin."""
    return texts("uniform", seed, "answer") if name == "llada-mini" else texts("clean", seed)


@cache
def sensitivity(name: str) -> list[float]:
    """How much the validation loss rises, in nats, when Wanda prunes half of one layer and nothing else."""
    model, calib = dense(name), twin_texts(name, 0)

    def loss(m) -> float:
        return sum(answer_bound(m, problems=16, draws=6, split="validation")) / 16

    base, layers = loss(model), model.config.n_layers
    only = [[0.5 * (i == j) for i in range(layers)] for j in range(layers)]
    return [loss(pruning.prune(model, Recipe("wanda", 0.5), calib=calib, layers=plan)) - base for plan in only]


def plan_of(name: str, kind: str, sparsity: float, seed: int) -> list[float]:
    """Share a sparsity among the layers of a model by one of `SCHEDULES`."""
    model = dense(name)
    depth = list(range(model.config.n_layers))
    if kind == "OWL":
        ratios = scores.outlier_ratios(model, activations.collect(model, twin_texts(name, seed)))
        return layer_sparsities(sparsity, ratios, width=0.08)
    if "sensitivity" in kind:
        importance = sensitivity(name)
        if kind.startswith("shuffled"):
            order = torch.randperm(len(importance), generator=torch.Generator().manual_seed(seed)).tolist()
            importance = [importance[i] for i in order]
    else:
        sign = {"uniform": 0, "earlier is sparser": 1, "deeper is sparser": -1}[kind]
        importance = [sign * d for d in depth]
    return layer_sparsities(sparsity, importance, width=0.1)


def settings() -> list[dict]:
    """List both models under every schedule, seed by seed."""
    models = ("llada-mini", "llama-mini")
    return [{"model": name, "schedule": kind, "seed": s} for s in SEEDS for kind in SCHEDULES for name in models]


def run(model: str, schedule: str, seed: int, size: int | None = None) -> dict:
    """Prune a model to half of its weights with one schedule; likelihood only."""
    plan = plan_of(model, schedule, 0.5, seed)
    small = pruning.prune(dense(model), Recipe("wanda", 0.5), calib=twin_texts(model, seed), layers=plan)
    return {"layers": plan, "nats": answer_bound(small, size=size)}


TABLE = Table(
    "04_schedules",
    settings,
    run,
    live=(
        {"model": "llada-mini", "schedule": "OWL", "seed": 0},
        {"model": "llama-mini", "schedule": "earlier is sparser", "seed": 0},
    ),
    size=6,
    tolerance=TOLERANCE | {"layers": (0.002, 0.0)},
)
