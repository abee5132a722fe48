"""Notebook 04: what sink-awareness adds: every token weight on the same texts, and the criterion as released."""

from functools import cache

import torch

from dlmlab.compress import calibration, methods, pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.study.judging import GRID_TEXTS, PAIRED_PROBLEMS, SEEDS, TOLERANCE, answer_bound, dense, texts

RELEASED = [name for name in methods.names() if name.startswith("sink-")]


@cache
def sink_scores(mode: str, seed: int) -> torch.Tensor:
    """Score the tokens of a calibration set with the dense model and the released constants."""
    return calibration.sink_scores(dense(), texts(mode, seed, n=GRID_TEXTS))


def sink_weights(mode: str, kind: str, seed: int) -> torch.Tensor:
    """Weigh the tokens of a calibration set as in the ablation."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return calibration.token_weights(
        kind, texts(mode, seed, n=GRID_TEXTS), phi=sink_scores(mode, seed), generator=generator
    )


ABLATION = (
    *(("wanda", "grid", kind, True) for kind in ("ones", "sink", "shuffled", "inverted")),
    *(("wanda", "grid", kind, True) for kind in ("masks", "visible", "preserve")),
    *(("wanda", "clean", kind, True) for kind in ("ones", "sink", "shuffled", "inverted")),
    *(("wanda", mode, kind, False) for mode in ("grid", "clean") for kind in ("ones", "sink")),
    *(("sparsegpt", mode, kind, True) for mode in ("clean", "grid") for kind in ("ones", "sink", "shuffled")),
)


def settings() -> list[dict]:
    """List every arm of the ablation, seed by seed."""
    columns = ("method", "mode", "weight", "sequential")
    return [dict(zip(columns, arm, strict=True)) | {"seed": seed} for seed in SEEDS for arm in ABLATION]


def run(method: str, mode: str, weight: str, sequential: bool, seed: int, size: int | None = None) -> dict:
    """Prune half of the weights with one weight for each token of the texts; likelihood only."""
    calib = texts(mode, seed, n=GRID_TEXTS)
    weights = None if weight == "ones" else sink_weights(mode, weight, seed)
    model = pruning.prune(dense(), Recipe(method, 0.5, sequential=sequential), calib=calib, weights=weights)
    return {"nats": answer_bound(model, problems=PAIRED_PROBLEMS, size=size)}


TABLE = Table(
    "04_sinks",
    settings,
    run,
    live=(
        {"method": "wanda", "mode": "clean", "weight": "sink", "sequential": True, "seed": 0},
        {"method": "wanda", "mode": "clean", "weight": "shuffled", "sequential": True, "seed": 0},
    ),
    size=6,
    tolerance=TOLERANCE,
)


def run_released(name: str, seed: int, size: int | None = None) -> dict:
    """Prune half of the weights by the criterion as released, as in the paper, or consistently; likelihood only."""
    model, tokenizer = load("llada-mini")
    chosen = methods.Texts(tokenizer, calibration.calibration_problems(GRID_TEXTS, seed=seed), "clean", seed=seed)
    pruned = methods.apply(model, name, 0.5, texts=chosen)
    return {"nats": answer_bound(pruned, problems=PAIRED_PROBLEMS, size=size)}


RELEASED_TABLE = Table(
    "04_released",
    lambda: [{"name": name, "seed": seed} for seed in SEEDS for name in RELEASED],
    run_released,
    live=[{"name": name, "seed": 0} for name in RELEASED[:2]],
    size=6,
    tolerance=TOLERANCE,
)
