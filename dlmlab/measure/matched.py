"""Two groups of problems, compared like with like: of every kind, the others count as often as ours do.

`dlmlab.measure.difference` pairs two models on the same problems. Here one model meets two groups of problems, which
may differ in what they are: the kinds (number of equations, say) are made equal by weights, direct standardisation. A
kind that one of the groups lacks does not count.
"""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from dlmlab.measure.difference import Difference

Z = 1.959964  # of a two-sided 95 % interval


def weights(ours: Sequence[bool], others: Sequence[bool], kinds: Sequence[Hashable]) -> np.ndarray:
    """Weigh problems so that the sum of weight times value is the mean of ours minus that of the others, (P,).

    Raises `ValueError` when a problem is in both groups, or no kind is.

    >>> weights([True, False, False], [False, True, True], ["a", "a", "a"]).tolist()
    [1.0, -0.5, -0.5]
    """
    if any(a and b for a, b in zip(ours, others, strict=True)):
        raise ValueError("a problem is in both groups")
    mine, theirs = (Counter(k for k, is_in in zip(kinds, group, strict=True) if is_in) for group in (ours, others))
    both = mine.keys() & theirs.keys()
    if not both:
        raise ValueError(f"the groups share no kind: {sorted(map(str, mine))} and {sorted(map(str, theirs))}")
    n = sum(mine[kind] for kind in both)
    there = {kind: -mine[kind] / n / theirs[kind] for kind in both}
    each = zip(ours, others, kinds, strict=True)
    return np.array([(1 / n if a else there[kind] if b else 0.0) if kind in both else 0.0 for a, b, kind in each])


def of_values(values: Sequence[Sequence[float]], w: np.ndarray, kinds: Sequence[Hashable]) -> Difference:
    """Difference of the means of `values`, a list of all problems for each seed, with `w` as `weights` gives them.

    The 95 % interval is a bootstrap over seeds and, inside every kind and group, over problems (10,000 resamples,
    seed 0).
    """
    table, rng, resamples = np.array(values, dtype=float), np.random.default_rng(0), 10_000  # (seeds, problems)
    drawn = np.zeros((resamples, len(w)))
    cells: dict[tuple, list[int]] = {}
    for i, (weight, kind) in enumerate(zip(w, kinds, strict=True)):
        if weight:
            cells.setdefault((kind, weight > 0), []).append(i)
    for cell in cells.values():
        drawn[:, cell] = rng.multinomial(len(cell), np.full(len(cell), 1 / len(cell)), resamples) * w[cell]
    seeds = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), resamples) / len(table)
    low, high = np.quantile(((seeds @ table) * drawn).sum(1), (0.025, 0.975))
    each = tuple(float(value) for value in table @ w)
    return Difference(sum(each) / len(each), float(low), float(high), each)


def of_shares(right: str, w: np.ndarray) -> Difference:
    """Difference of two shares, `right` one digit a problem, with `w` as `weights` gives them.

    The 95 % interval joins the two Wilson intervals (Newcombe 1998, method 10), so that it has a width where all are
    right, too. A weighted share counts as one of 1 / sum(w^2) problems, fewer than there are (Kish).
    """
    digits = np.array([*map(int, right)])
    (p, low, high), (q, under, over) = (_wilson(digits, np.abs(np.where(side, w, 0.0))) for side in (w > 0, w < 0))
    return Difference(p - q, p - q - float(np.hypot(p - low, over - q)), p - q + float(np.hypot(high - p, q - under)))


def _wilson(digits: np.ndarray, w: np.ndarray) -> tuple[float, float, float]:
    p, n = float(w @ digits), 1 / float((w**2).sum())
    middle, half = p + Z**2 / (2 * n), Z * float(np.sqrt(max(p * (1 - p), 0.0) / n + Z**2 / (4 * n * n)))
    return p, max((middle - half) / (1 + Z**2 / n), 0.0), min((middle + half) / (1 + Z**2 / n), 1.0)
