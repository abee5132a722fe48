"""Lab 20: what libraries make of a point outside the reference; two fronts of notebook 06 as the reference moves."""

import warnings
from collections.abc import Sequence

import moocore
import numpy as np
from optuna._hypervolume import compute_hypervolume

from dlmlab.compress.joint import front
from dlmlab.measure.store import read, select

METHODS = ("knapsack", "uniform", "random", "Optuna")


def libraries(points: Sequence[front.Point], reference: front.Point) -> dict[str, str]:
    """Measure one hypervolume with moocore, with optuna, whose function is private, with the course's sweep, and with
    the course's function, which asks moocore and looks at the numbers first."""
    p, r = np.asarray(points, dtype=float), np.asarray(reference, dtype=float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = {
            "moocore": lambda: float(moocore.hypervolume(p, ref=r)),
            "optuna": lambda: float(compute_hypervolume(p, r)),
            "sweep": lambda: front.dominated_area(points, reference),
            "dl.front": lambda: front.hypervolume(points, reference),
        }
        return {name: _said(measure) for name, measure in asked.items()}


def _said(measure) -> str:
    try:
        return f"{measure():g}"
    except ValueError:
        return "refused"


def searched(method: str, seed: int | None = None) -> list[tuple[float, float]]:
    """Give the models that a search of notebook 06 found under its three budgets: megabytes and nats, means over the
    seeds or those of one."""
    rows = [row for row in select(read("06_search"), method=method) if seed in (None, row["seed"])]
    found = []
    for budget in sorted({row["budget"] for row in rows}):
        mine = [row for row in rows if row["budget"] == budget]
        nats = np.mean([np.mean(row["nats"]) for row in mine])
        found.append((float(np.mean([row["bytes"] for row in mine]) / 1e6), float(nats)))
    return found


def gain(ours: Sequence[front.Point], theirs: Sequence[front.Point], reference: front.Point) -> float:
    """Percent by which one hypervolume is above another; infinite when the other is 0."""
    a, b = (front.hypervolume(points, reference) for points in (ours, theirs))
    return 100 * (a / b - 1) if b else float("inf")
