"""Do losses add up? What one option costs alone, summed, against what all of them cost together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr


@dataclass(frozen=True)
class Additivity:
    """`spearman`: do the sums rank the models as the truth does? `r2`: share of the variance of the truth that the sums
    themselves explain (1 means equal, below 0 worse than the mean). `r2_line`: the same for the best straight line.
    `slope`: of that line, above 1 when options hurt each other."""

    spearman: float
    r2: float
    r2_line: float
    slope: float


def additivity(proxy: Sequence[float], truth: Sequence[float]) -> Additivity:
    """Compare sums with the truth, one number a model. Raises `ValueError` for fewer than three, or no spread.

    >>> additivity([1, 2, 3], [1, 2, 3])
    Additivity(spearman=1.0, r2=1.0, r2_line=1.0, slope=1.0)
    """
    x, y = np.asarray(proxy, dtype=float), np.asarray(truth, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 3 or not np.ptp(x) or not np.ptp(y):
        raise ValueError(f"need three models or more with sums and truths that differ, got {len(x)} and {len(y)}")
    total = float(((y - y.mean()) ** 2).sum())
    slope, start = np.polyfit(x, y, 1)
    line = 1 - float(((y - slope * x - start) ** 2).sum()) / total
    itself = 1 - float(((y - x) ** 2).sum()) / total
    return Additivity(*(round(float(v), 12) for v in (spearmanr(x, y).statistic, itself, line, slope)))
