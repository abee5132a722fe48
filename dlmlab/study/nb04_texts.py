"""Notebook 04: the states of the calibration texts."""

from pathlib import Path

from dlmlab.compress import pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure import store
from dlmlab.measure.store import Say, fill
from dlmlab.study.nb04_pruning import PAIRED_PROBLEMS, SEEDS, answer_bound, dense, texts

CALIBRATIONS = (
    ("clean", "all"),
    ("uniform", "all"),
    ("uniform", "answer"),
    ("grid", "all"),
    ("t:0.5", "all"),
    ("prefix", "all"),
    ("trajectory", "all"),
)


def calibrations(say: Say = print, path: Path = store.RESULTS / "04_calibration.json") -> None:
    """Prune half of the weights with Wanda on every kind of calibration text, three seeds; likelihood only."""

    def measure(mode: str, region: str, seed: int) -> dict:
        model = pruning.prune(dense(), Recipe("wanda", 0.5), calib=texts(mode, seed, region))
        return {"nats": answer_bound(model, problems=PAIRED_PROBLEMS)}

    def jobs():
        for seed in SEEDS:
            for mode, region in CALIBRATIONS:
                yield {"mode": mode, "region": region, "seed": seed}, lambda c=(mode, region, seed): measure(*c)

    fill(path, jobs(), say)
