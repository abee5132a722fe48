"""A verdict asked again of a second run: what became of it, what two runs say about a third, and how much is kept.

Decisions
* "Shown before and not now" is no change: one interval may miss zero and the other hold it while the two hardly differ
  (Gelman and Stern 2006). So the change between the runs has an interval of its own, taken problem by problem.
* An interval over problems and draws speaks of *these* weights. One that speaks of the recipe needs runs as its sample,
  and two runs leave one degree of freedom: `over_runs` is then an honest way to say "we do not know".
"""

import math
from collections.abc import Sequence

from scipy.stats import t as student_t

Interval = tuple[float, float]
STANDS, SIZE, GONE, TURNED = "stands", "same sign, other size", "not shown any more", "turned round"
NONE, NEW = "still not shown", "shown only now"
WORDS = (STANDS, SIZE, GONE, TURNED, NONE, NEW)


def again(first: Interval, second: Interval, change: Interval) -> str:
    """Say what became of a verdict: one of `WORDS`.

    Each is the (low, high) of an interval: of the effect in the first run, of the same in the second, and of second -
    first. An interval shows an effect when it lies wholly on one side of zero; one that touches zero does not.

    >>> again((1.0, 3.0), (0.5, 2.5), (-2.0, 1.0)), again((1.0, 3.0), (-0.1, 1.9), (-2.5, 0.3))
    ('stands', 'not shown any more')
    """
    before, now, moved = (_side(interval) for interval in (first, second, change))
    if not before:
        return NEW if now else NONE
    if not now:
        return GONE
    if now != before:
        return TURNED
    return SIZE if moved else STANDS


def _side(interval: Interval) -> int:
    low, high = interval
    return 1 if low > 0 else -1 if high < 0 else 0


def over_runs(effects: Sequence[float]) -> tuple[float, float, float]:
    """Give mean, low and high of the effect of a recipe, from one effect a run: the 95 % t interval over runs.

    mean -+ t(0.975, n - 1) s / sqrt(n), with the standard deviation s of a sample. Raises `ValueError` for fewer than
    two runs: one run says nothing about another.

    >>> ["%.2f" % value for value in over_runs([1.0, 2.0])]
    ['1.50', '-4.85', '7.85']
    """
    n = len(effects)
    if n < 2:
        raise ValueError(f"{n} runs: a spread over runs needs at least 2")
    mean = sum(effects) / n
    spread = math.sqrt(sum((x - mean) ** 2 for x in effects) / (n - 1))
    half = float(student_t.ppf(0.975, n - 1)) * spread / math.sqrt(n)
    return mean, mean - half, mean + half


def kept(first: Sequence[float], second: Sequence[float], errors: Sequence[float]) -> float:
    """Say which share of the first effects the second ones have: the slope through the origin of second on first.

    Effects have different units, so each pair is divided by the standard error of the first effect: slope = sum(f s) /
    sum(f^2) with f = first / error, s = second / error. 1: all of it, 0: nothing, below 0: the other sign. Raises
    `ValueError` for lists that are empty or not equally long, for an error that is not above 0, and for first effects
    that are all 0.

    >>> kept([2.0, 10.0], [1.0, 5.0], [1.0, 5.0])
    0.5
    """
    if not first or not len(first) == len(second) == len(errors):
        raise ValueError(
            f"need three equally long, non-empty lists, got {len(first)}, {len(second)} and {len(errors)} numbers"
        )
    if wrong := [e for e in errors if not e > 0]:
        raise ValueError(f"errors holds {wrong[0]!r}: must be above 0")
    pairs = [(f / e, s / e) for f, s, e in zip(first, second, errors, strict=True)]
    below = sum(f * f for f, _ in pairs)
    if not below:
        raise ValueError("all first effects are 0: no share of nothing")
    return sum(f * s for f, s in pairs) / below
