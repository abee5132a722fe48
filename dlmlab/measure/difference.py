"""The difference of two measurements of the same problems, its interval, and the word for it.

The rule for the word is written once, here: a difference is `lower` or `higher` only when its whole interval and every
seed say so. The interval is over problems (a paired bootstrap); how much the draw of the calibration texts or of the
noise matters is visible only from seed to seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

from dlmlab.measure.store import select


@dataclass(frozen=True)
class Difference:
    """`mean` of a - b with its 95 % interval over problems, and the mean of each seed where there are several."""

    mean: float
    low: float
    high: float
    seeds: tuple[float, ...] = ()

    @property
    def word(self) -> str:
        """Say "lower" or "higher" when the interval and every seed agree, else "no difference shown".

        >>> Difference(-0.4, -0.7, -0.1).word
        'lower'
        >>> Difference(-0.4, -0.7, -0.1, seeds=(-0.9, 0.1)).word
        'no difference shown'
        """
        if self.high < 0 and all(seed < 0 for seed in self.seeds):
            return "lower"
        if self.low > 0 and all(seed > 0 for seed in self.seeds):
            return "higher"
        return "no difference shown"

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest value that the interval or a seed allows.

        >>> Difference(0.4, 0.1, 0.7, seeds=(0.3, 0.9)).span
        (0.1, 0.9)
        """
        return min((self.low, *self.seeds)), max((self.high, *self.seeds))

    def times(self, factor: float) -> "Difference":
        """Change the unit, as from shares to points; a negative factor turns the interval round."""
        low, high = sorted((factor * self.low, factor * self.high))
        return Difference(factor * self.mean, low, high, tuple(factor * seed for seed in self.seeds))

    def __format__(self, spec: str) -> str:
        """Write mean and interval.

        >>> f"{Difference(-0.4, -0.7, -0.1):+.2f}"
        '-0.40 [-0.70, -0.10]'
        """
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def between(a: Sequence[float] | str, b: Sequence[float] | str) -> Difference:
    """Mean of a - b over the same problems, with a 95 % bootstrap interval (10,000 resamples of problems, seed 0).

    `a`, `b`: one value a problem; a string of digits ("0110", as tables store verdicts) counts as such values. Raises
    `ValueError` when the two do not judge the same number of problems.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"need two equally long, non-empty lists, got {len(a)} and {len(b)}")
    differences = _values(a) - _values(b)
    if (differences == differences[0]).all():
        return Difference(*[float(differences[0])] * 3)
    ci = bootstrap(
        (differences,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return Difference(float(differences.mean()), float(ci.low), float(ci.high))


def of_rows(rows: Sequence[dict], a: dict, b: dict, *, column: str = "nats") -> Difference:
    """Difference of the rows with key `a` and those with key `b`: seeds are averaged first, problems are paired.

    Only seeds that both have are used. Raises `ValueError` when there are none, or no row has a key.
    """
    ours, theirs = ({row.get("seed"): _values(row[column]) for row in select(rows, **key)} for key in (a, b))
    common = sorted(ours.keys() & theirs.keys(), key=str)
    if not common:
        raise ValueError(f"{a} and {b} have no seed in common")
    found = between(*([sum(v) / len(v) for v in zip(*(x[s] for s in common), strict=True)] for x in (ours, theirs)))
    seeds = tuple(_mean(ours[seed]) - _mean(theirs[seed]) for seed in common)
    return Difference(found.mean, found.low, found.high, seeds)


def _values(values: Sequence[float] | str) -> np.ndarray:
    return np.array([*map(float, values)])


def _mean(values: np.ndarray) -> float:
    return sum(values.tolist()) / len(values)
