"""Notebook 04: what sink-awareness adds: every token weight on the same texts, and the criterion as released."""

from functools import cache
from pathlib import Path

import torch

from dlmlab.compress import calibration, methods, pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure import store
from dlmlab.measure.store import Say, fill
from dlmlab.network.checkpoint import load
from dlmlab.study.nb04_pruning import GRID_TEXTS, PAIRED_PROBLEMS, SEEDS, answer_bound, dense, texts

RELEASED = methods.SINK


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


def ablation(say: Say = print, path: Path = store.RESULTS / "04_sinks.json") -> None:
    """Prune half of the weights with every token weight, three calibration seeds; likelihood only."""

    def measure(method: str, mode: str, kind: str, sequential: bool, seed: int) -> dict:
        calib = texts(mode, seed, n=GRID_TEXTS)
        weights = None if kind == "ones" else sink_weights(mode, kind, seed)
        recipe = Recipe(method, 0.5, sequential=sequential)
        return {
            "nats": answer_bound(pruning.prune(dense(), recipe, calib=calib, weights=weights), problems=PAIRED_PROBLEMS)
        }

    def jobs():
        for seed in SEEDS:
            for method, mode, kind, sequential in ABLATION:
                key = {"method": method, "mode": mode, "weight": kind, "sequential": sequential, "seed": seed}
                yield key, lambda c=(method, mode, kind, sequential, seed): measure(*c)

    fill(path, jobs(), say)


def released(say: Say = print, path: Path = store.RESULTS / "04_released.json") -> None:
    """Prune half of the weights by the criterion as released, as in the paper, and consistently; likelihood only."""
    model, tokenizer = load("llada-mini")

    def measure(name: str, seed: int) -> dict:
        chosen = methods.Texts(tokenizer, calibration.calibration_problems(GRID_TEXTS, seed=seed), "clean", seed=seed)
        return {"nats": answer_bound(methods.apply(model, name, 0.5, texts=chosen), problems=PAIRED_PROBLEMS)}

    fill(path, (({"name": n, "seed": s}, lambda n=n, s=s: measure(n, s)) for s in SEEDS for n in RELEASED), say)
