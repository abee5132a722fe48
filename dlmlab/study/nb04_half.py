"""Notebook 04: token weights at half of the weights, in every way that a released method takes them.

The grid of `nb04_sinks` fixes the texts (ten noise levels) and the layers (one shot) and varies the sparsity. Here the
sparsity is fixed and the rest varies: clean or noised texts, sequential or one-shot layers, Wanda or SparseGPT.
"""

from functools import cache

import torch

from dlmlab.compress import calibration, pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure.table import Table
from dlmlab.study.judging import GRID_TEXTS, SEEDS, TOLERANCE, answer_bound, dense, texts

ABLATION = (
    *(("wanda", "grid", kind, True) for kind in ("ones", "sink", "shuffled", "inverted")),
    *(("wanda", "grid", kind, True) for kind in ("masks", "visible", "preserve")),
    *(("wanda", "clean", kind, True) for kind in ("ones", "sink", "shuffled", "inverted")),
    *(("wanda", mode, kind, False) for mode in ("grid", "clean") for kind in ("ones", "sink")),
    *(("wanda", "grid", kind, True) for kind in ("preserve shuffled", "inverted shuffled")),
    *(("sparsegpt", mode, kind, True) for mode in ("clean", "grid") for kind in ("ones", "sink", "shuffled")),
    *(("sparsegpt", "grid", kind, True) for kind in ("preserve", "preserve shuffled")),
)


@cache
def sink_scores(mode: str, seed: int) -> torch.Tensor:
    """Score the tokens of a calibration set with the dense model and the released constants."""
    return calibration.sink_scores(dense(), texts(mode, seed, n=GRID_TEXTS))


def settings() -> list[dict]:
    """List every arm of the ablation, seed by seed."""
    columns = ("method", "mode", "weight", "sequential")
    return [dict(zip(columns, arm, strict=True)) | {"seed": seed} for seed in SEEDS for arm in ABLATION]


def run(method: str, mode: str, weight: str, sequential: bool, seed: int, size: int | None = None) -> dict:
    """Prune half of the weights with one weight for each token of the texts; likelihood only."""
    calib, generator = texts(mode, seed, n=GRID_TEXTS), torch.Generator().manual_seed(1000 + seed)
    phi = None if weight == "ones" else sink_scores(mode, seed)
    weights = calibration.token_weights(weight, calib, phi=phi, generator=generator)
    model = pruning.prune(dense(), Recipe(method, 0.5, sequential=sequential), calib=calib, weights=weights)
    return {"nats": answer_bound(model, size=size)}


HALF = Table(
    "04_half",
    settings,
    run,
    live=(
        {"method": "wanda", "mode": "clean", "weight": "sink", "sequential": True, "seed": 0},
        {"method": "wanda", "mode": "clean", "weight": "shuffled", "sequential": True, "seed": 0},
    ),
    size=6,
    tolerance=TOLERANCE,
)
