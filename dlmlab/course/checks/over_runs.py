"""Exercise 9.3. Two runs, many, runs that agree to the last digit, effects below zero, and one run alone."""

import math
from collections.abc import Callable, Sequence
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise

# the 97.5 % quantile of Student's t, by degrees of freedom
QUANTILES = {1: 12.7062, 2: 4.30265, 3: 3.18245, 4: 2.77645, 6: 2.44691, 9: 2.26216, 24: 2.06390}


def check_over_runs(fn: Callable) -> None:
    """Judge an answer to 9.3."""

    def run(effects: Sequence[float]) -> tuple[float, float, float]:
        given = list(effects)
        found = fn(given)
        require(found is not None, NOTHING)
        require(given == list(effects), "the list was changed in place: the caller still needs it")
        require(
            isinstance(found, tuple) and len(found) == 3 and all(isinstance(x, Real) for x in found),
            "the result should be a tuple of three numbers: mean, low, high",
        )
        return tuple(map(float, found))

    mean, low, high = run([1.0, 3.0])
    require(close(mean, 2.0), f"the mean of 1 and 3 is 2, not {mean:.3f}")
    half = high - mean
    require(close(mean - low, half, 1e-4), "the interval lies evenly about the mean")
    for message, wrong in {
        "1.96 is the factor of a spread that is known; this one is estimated, from one degree of freedom": 1.96,
        "two runs have one degree of freedom, not two: one is spent on the mean": 4.30265,
        "the spread is that of a sample: the squares are divided by n - 1": 12.7062 / math.sqrt(2),
        "that is the spread of single runs; the mean of n runs varies less, by the root of n": 12.7062 * math.sqrt(2),
        "that is one standard error; a 95 % interval is wider": 1.0,
        "that is the standard deviation of the runs, no interval of their mean": math.sqrt(2),
        "0.95 of the mass lie between the quantiles 0.025 and 0.975, not below 0.95": 6.31375,
    }.items():
        require(not close(half, wrong, 1e-4), message)
    require(close(half, 12.7062, 1e-3), f"1 and 3: the mean 2 and 12.71 on both sides, not {half:.3f}")
    four, right = run([1.0, 2.0, 3.0, 6.0]), 3.18245 * math.sqrt(14 / 3) / 2
    require(
        all(close(x, y, 1e-3) for x, y in zip(four, (3.0, 3.0 - right, 3.0 + right), strict=True)),
        f"1, 2, 3 and 6: 3 and {right:.2f} on both sides, not {four[2] - four[0]:.2f}",
    )
    negative = run([-1.0, -3.0])
    require(
        negative[1] < negative[0] < negative[2], "low is below the mean and high above it, for effects below zero, too"
    )
    require(
        all(close(x, y, 1e-3) for x, y in zip(negative, (-2.0, -14.7062, 10.7062), strict=True)),
        "-1 and -3: the interval of 1 and 3, mirrored",
    )
    alike = run([0.5, 0.5, 0.5])
    require(all(close(x, 0.5) for x in alike), "three runs that agree: an interval without length, at 0.5")
    draw = Cases(92)
    for df, quantile in QUANTILES.items():
        for scale in (0.1, 1.0, 30.0):
            effects = (scale * draw.normal(df + 1).double() + draw.int(-3, 4)).tolist()
            n, middle = df + 1, sum(effects) / (df + 1)
            width = quantile * math.sqrt(sum((x - middle) ** 2 for x in effects) / df / n)
            for found, what, right in zip(
                run(effects), ("mean", "low", "high"), (middle, middle - width, middle + width), strict=True
            ):
                require(
                    abs(found - right) < 1e-3 * (1 + abs(right)),
                    f"{n} runs: {what} {found:.4f}, it should be {right:.4f}",
                )
    for effects in ([1.0], []):
        try:
            run(effects)
        except ValueError:
            continue
        require(False, f"{len(effects)} run says nothing about another: `ValueError`, as the docstring says")


EXERCISE = Exercise(
    id="9.3",
    title="The run as the sample",
    minutes=15,
    difficulty=3,
    objective="Make an interval that speaks of a recipe, and see what two runs are worth.",
    path="dlmlab.replication.over_runs",
    stub='''\
def over_runs(effects: Sequence[float]) -> tuple[float, float, float]:
    """Give mean, low and high: the 95 % t interval of the mean effect of a recipe, from one effect a run.

    mean -+ t(0.975, n - 1) * s / sqrt(n), s the standard deviation of a sample. `scipy.stats.t.ppf(q, df)` gives the
    quantile. Raises ValueError for fewer than two runs.
    """
    raise NotImplementedError
''',
    hints=(
        "Two effects, 1 and 3. What is the spread of a sample of two, and of how many numbers is it estimated?",
        "Three factors: a quantile that depends on the degrees of freedom, the standard deviation with n - 1, and one "
        "over the root of n. Check each with the list [1, 3].",
        "half = t.ppf(0.975, n - 1) * statistics.stdev(effects) / math.sqrt(n); return mean, mean - half, mean + half",
    ),
    check=check_over_runs,
)
