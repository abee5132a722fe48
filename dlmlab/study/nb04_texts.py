"""Notebook 04: the states of the calibration texts."""

from dlmlab.compress import pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure.table import Table
from dlmlab.study.judging import SEEDS, TOLERANCE, answer_bound, dense, texts

CALIBRATIONS = (
    ("clean", "all"),
    ("uniform", "all"),
    ("uniform", "answer"),
    ("grid", "all"),
    ("t:0.5", "all"),
    ("prefix", "all"),
    ("trajectory", "all"),
)


def run(mode: str, region: str, seed: int, size: int | None = None) -> dict:
    """Prune half of the weights with Wanda on one kind of calibration text; likelihood only."""
    model = pruning.prune(dense(), Recipe("wanda", 0.5), calib=texts(mode, seed, region))
    return {"nats": answer_bound(model, size=size)}


TABLE = Table(
    "04_calibration",
    lambda: [{"mode": mode, "region": region, "seed": seed} for seed in SEEDS for mode, region in CALIBRATIONS],
    run,
    live=[{"mode": m, "region": r, "seed": 0} for m, r in (("uniform", "answer"), ("prefix", "all"))],
    size=6,
    tolerance=TOLERANCE,
)
