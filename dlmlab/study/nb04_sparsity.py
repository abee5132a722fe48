"""Notebook 04: exact match and likelihood of every method at every sparsity, the signature figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dlmlab.compress import pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure import store
from dlmlab.measure.store import Say, fill
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.nb04_pruning import answer_bound, dense, judge, texts

SPARSITIES = (0.3, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Curve:
    """One line of the signature figure: a recipe without its sparsity, and the texts it looks at."""

    name: str
    method: str
    mode: str | None = None
    sparsities: Sequence[float] = SPARSITIES
    pattern: str = "row"


CURVES = (
    Curve("Wanda, noised texts", "wanda", "uniform"),
    Curve("SparseGPT, noised texts", "sparsegpt", "uniform"),
    Curve("magnitude", "magnitude"),
    Curve("Wanda, clean texts", "wanda", "clean"),
    Curve("Wanda mask, refit", "wanda_refit", "uniform"),
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


def sweep(say: Say = print, path: Path = store.RESULTS / "04_sparsity.json") -> None:
    """Measure every curve at every sparsity, and the dense model, with one calibration seed."""

    def measure(model) -> dict:
        return judge(model) | {"nats": answer_bound(model)}

    def jobs():
        yield {"curve": "dense", "sparsity": 0.0}, lambda: measure(dense())
        for sparsity in (0.5, 0.3, 0.7, 0.6, 0.8):
            for curve in CURVES:
                if sparsity in curve.sparsities:
                    key = {"curve": curve.name, "sparsity": sparsity}
                    yield key, lambda c=curve, s=sparsity: measure(pruned(c, s))

    fill(path, jobs(), say)
