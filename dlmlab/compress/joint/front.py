"""Pareto fronts: what is not dominated, how much it dominates itself, and whether that is more than the seeds' noise.

Every objective is minimized. Fronts and hypervolumes come from moocore (LGPL-2.1), which is exact and tested in any
number of dimensions; what is here names the conventions. The hypervolume depends on the reference point and on the
scale of every axis, so both are part of each number: a gain in percent of a hypervolume is no gain in percent of
anything that a user has (arXiv 2602.18277, PRISM, reports such gains).

Source of the hypervolume: Zitzler and Thiele 1998; of the algorithm: Fonseca, Paquete and Lopez-Ibanez 2006.
"""

from collections.abc import Sequence

import moocore
import numpy as np

Point = Sequence[float]


def dominates(a: Point, b: Point) -> bool:
    """Say whether point a is at least as good as b in every objective and better in one (all minimized).

    >>> dominates((1, 2), (1, 3)), dominates((1, 2), (1, 2)), dominates((0, 9), (1, 2))
    (True, False, False)
    """
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def front(points: Sequence[Point]) -> list[int]:
    """Give the indices of the points that no other dominates, in their order; of equal points the first.

    >>> front([(1, 3), (2, 2), (3, 1), (3, 3), (2, 2)])
    [0, 1, 2]
    """
    return np.flatnonzero(moocore.is_nondominated(_checked(points))).tolist()


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Measure what lies between the points and a reference that is worse in every objective; points that are not
    better than it in all objectives add nothing.

    >>> hypervolume([(1, 3), (2, 2), (3, 1)], (4, 4))
    6.0
    """
    return float(moocore.hypervolume(_checked(points), ref=np.asarray(reference, dtype=float)))


def dominated_area(points: Sequence[Point], reference: Point) -> float:
    """Measure the union of the boxes between each point and the reference: the hypervolume of two objectives. A point
    that is not below the reference in both adds nothing.

    >>> dominated_area([(3, 1), (1, 3), (2, 2)], (4, 4)), dominated_area([], (4, 4))
    (6.0, 0.0)
    """
    area, low = 0.0, reference[1]
    for x, y in sorted(tuple(point) for point in points):
        if x < reference[0] and y < low:  # a new step of the stairs: what the points before it left below them
            area += (reference[0] - x) * (low - y)
            low = y
    return area


def even_references(ours: Sequence[Point], theirs: Sequence[Point]) -> list[float]:
    """List the t at which two fronts of two objectives dominate the same area at the reference (t, t), beyond all their
    points: one or, if there is none or every t is one, nothing.

    Beyond all points the difference of two areas is a straight line in t: only the lowest number of each objective of
    each front decides about its slope. So a front may be ahead at one reference and behind at another.

    >>> [round(t, 3) for t in even_references([(0, 4.9), (4.9, 0)], [(2.5, 2.5)])]
    [6.052]
    """
    start = max(max(point) for point in (*ours, *theirs))
    ahead, further = (
        dominated_area(ours, (t, t)) - dominated_area(theirs, (t, t)) for t in (start, start + 1)
    )  # where the line begins, and one to the right
    if abs(further - ahead) < 1e-9:
        return []
    t = start - ahead / (further - ahead)
    return [t] if t > start + 1e-9 else []


def normalized(points: Sequence[Point], reference: Point, ideal: Point) -> float:
    """Measure the hypervolume as a share of the box from `ideal` to `reference`: free of units, between 0 and 1.

    Raises `ValueError` when the ideal is not better than the reference in every objective.
    """
    box = np.asarray(reference, dtype=float) - np.asarray(ideal, dtype=float)
    if not bool((box > 0).all()):
        raise ValueError(f"ideal {tuple(ideal)} must be below reference {tuple(reference)} in every objective")
    clipped = np.maximum(_checked(points), np.asarray(ideal, dtype=float))
    return hypervolume(clipped, reference) / float(box.prod())


def thinner_than_noise(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Say whether the gap of two hypervolumes, one a seed each, is within the range of one of them over its seeds."""
    gap = abs(np.mean(ours) - np.mean(theirs))
    return bool(gap <= max(np.ptp(ours), np.ptp(theirs)))


def _checked(points: Sequence[Point]) -> np.ndarray:
    found = np.asarray(points, dtype=float)
    if found.ndim != 2 or not found.size or not np.isfinite(found).all():
        raise ValueError(f"points must be finite, one row each, not none: got shape {found.shape}")
    return found
