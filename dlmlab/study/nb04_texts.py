"""Notebook 04: the states of the calibration texts.

Noise on the answer alone masks fewer tokens than noise on the whole text. `SCATTERED` is the control that tells *where*
from *how many*: as many masks in each text, anywhere.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from dlmlab.compress import calibration, pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure.difference import Difference, headlines, of_rows
from dlmlab.measure.table import Table
from dlmlab.study.judging import SEEDS, TOLERANCE, answer_bound, dense, texts

SCATTERED = "as many, anywhere"
CALIBRATIONS = (
    ("clean", "all"),
    ("uniform", "all"),
    ("uniform", "answer"),
    ("uniform", SCATTERED),
    ("grid", "all"),
    ("t:0.5", "all"),
    ("prefix", "all"),
    ("trajectory", "all"),
)


def states(mode: str, seed: int, region: str) -> calibration.CalibrationSet:
    """Make the calibration states of one row."""
    if region != SCATTERED:
        return texts(mode, seed, region)
    clean, noised = texts("clean", seed), texts(mode, seed, "answer")
    generator = torch.Generator().manual_seed(seed)
    masked = calibration.shuffled(noised.masked.float(), clean.real, generator).bool()
    return replace(clean, ids=clean.ids.masked_fill(masked, clean.mask_id), t=noised.t)


def run(mode: str, region: str, seed: int, size: int | None = None) -> dict:
    """Prune half of the weights with Wanda on one kind of calibration text; likelihood only."""
    model = pruning.prune(dense(), Recipe("wanda", 0.5), calib=states(mode, seed, region))
    return {"nats": answer_bound(model, size=size)}


def places(rows: Sequence[dict]) -> dict[str, Difference]:
    """Tell where the noise stands from how much there is: nats of answer noise less as many masks anywhere, and of
    these less noise on the whole text."""
    answer, anywhere, every = ({"mode": "uniform", "region": region} for region in ("answer", SCATTERED, "all"))
    return {
        "answer - as many anywhere": of_rows(rows, answer, anywhere),
        "as many anywhere - all": of_rows(rows, anywhere, every),
    }


TABLE = Table(
    "04_calibration",
    lambda: [{"mode": mode, "region": region, "seed": seed} for seed in SEEDS for mode, region in CALIBRATIONS],
    run,
    live=[{"mode": m, "region": r, "seed": 0} for m, r in (("uniform", "answer"), ("prefix", "all"))],
    size=6,
    tolerance=TOLERANCE,
    headlines=lambda rows: headlines("nats", places(rows)),
)
