"""Notebook 04: exact match and likelihood of every method at every sparsity, the signature figure."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dlmlab.compress import pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure.table import Table
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import SEEDS, TOLERANCE, answer_bound, dense, judge, texts

SPARSITIES = (0.3, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Curve:
    """One line of the signature figure: a recipe without its sparsity, and the texts it looks at."""

    name: str
    method: str
    mode: str | None = None
    sparsities: Sequence[float] = SPARSITIES
    pattern: str = "row"

    @property
    def drawn(self) -> bool:
        """Whether chance has a part in it: texts, or what is removed."""
        return self.method != "magnitude"


CURVES = (
    Curve("Wanda, noised texts", "wanda", "uniform"),
    Curve("SparseGPT, noised texts", "sparsegpt", "uniform"),
    Curve("magnitude", "magnitude"),
    Curve("Wanda, clean texts", "wanda", "clean"),
    Curve("Wanda mask, refit", "wanda_refit", "uniform"),
    Curve("magnitude mask, refit", "magnitude_refit", "uniform"),
    Curve("random", "random", sparsities=(0.3, 0.5)),
    Curve("Wanda 2:4", "wanda", "uniform", (0.5,), "2:4"),
    Curve("Wanda 4:8", "wanda", "uniform", (0.5,), "4:8"),
    Curve("SparseGPT 2:4", "sparsegpt", "uniform", (0.5,), "2:4"),
)


def pruned(curve: Curve, sparsity: float, seed: int = 0) -> LLaDAModelLM:
    """Make one model of the signature figure."""
    recipe = Recipe(curve.method, sparsity, curve.pattern)
    calib = texts(curve.mode, seed, "answer") if curve.mode else None
    return pruning.prune(dense(), recipe, calib=calib, generator=torch.Generator().manual_seed(seed))


def settings() -> list[dict]:
    """List the dense model, then every curve at every sparsity it has, seed by seed; half of the weights first.

    The seed draws the texts, or what is removed at random; where nothing is drawn it is None.
    """
    pruned = [
        {"curve": curve.name, "sparsity": sparsity, "seed": seed if curve.drawn else None}
        for seed in SEEDS
        for sparsity in (0.5, 0.7, 0.6, 0.3, 0.8)
        for curve in CURVES
        if sparsity in curve.sparsities and (curve.drawn or seed == SEEDS[0])
    ]
    return [{"curve": "dense", "sparsity": 0.0, "seed": None}, *pruned]


def run(curve: str, sparsity: float, seed: int | None, size: int | None = None) -> dict:
    """Measure one model of the figure."""
    model = dense() if curve == "dense" else pruned({c.name: c for c in CURVES}[curve], sparsity, seed or 0)
    return judge(model, seed=seed, size=size) | {"nats": answer_bound(model, size=size)}


TABLE = Table(
    "04_sparsity",
    settings,
    run,
    live=(
        {"curve": "Wanda, noised texts", "sparsity": 0.5, "seed": 0},
        {"curve": "magnitude", "sparsity": 0.3, "seed": None},
        {"curve": "Wanda 2:4", "sparsity": 0.5, "seed": 0},
    ),  # SparseGPT chooses column by column: the last digit of a sum changes its mask, and every problem a little
    size=10,
    tolerance=TOLERANCE,
)
