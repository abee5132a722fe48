"""Medians and quartiles of what a benchmark measured, as plain lists that JSON keeps."""

import statistics
from collections.abc import Sequence

from dlmlab.network import cost


def spread(values: Sequence[float]) -> list[float]:
    """Return [median, lower quartile, upper quartile], four significant digits."""
    low, _, high = statistics.quantiles(values, n=4)
    return [float(f"{v:.4g}") for v in (statistics.median(values), low, high)]


def ratios(seconds: dict[str, list[float]], base: str) -> dict[str, list[float]]:
    """Return how many times as fast as `base` each series is, round by round: [median, quartiles]."""
    found = {name: cost.ratio(seconds[base], values) for name, values in seconds.items()}
    return {name: [float(f"{v:.4g}") for v in (r.median, r.low, r.high)] for name, r in found.items()}


def times(values: Sequence[float]) -> str:
    """Write [median, low, high] as text.

    >>> times([2.04, 1.96, 2.11])
    '2.04 x (1.96 to 2.11)'
    """
    return "{:.2f} x ({:.2f} to {:.2f})".format(*values)
