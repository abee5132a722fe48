"""Exercise 20.3. Fronts that change places, near and far; fronts that never do; equal ones; an even place inside."""

from collections.abc import Callable
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise

Front = list[tuple[float, float]]


def check_even_references(fn: Callable) -> None:
    """Judge an answer to 20.3."""

    def run(ours: Front, theirs: Front) -> float | None:
        given = list(ours), list(theirs)
        try:
            found = fn(*given)
        except ZeroDivisionError:
            raise AssertionError("a line without a slope meets zero nowhere: [], and no division by 0") from None
        require(given == (ours, theirs), "a list of points was changed: the caller still needs it")
        require(found is not None, NOTHING)
        right = isinstance(found, list) and len(found) < 2 and all(isinstance(t, Real) for t in found)
        require(right, f"the result is {found!r}, it should be a list of one number or of none")
        return found[0] if found else None

    wide, middle = [(0.0, 4.9), (4.9, 0.0)], [(2.5, 2.5)]
    t = run(wide, middle)
    require(
        t is not None, "(0, 4.9), (4.9, 0) to (2.5, 2.5): 0.99 to 6.25 at (5, 5), 40.0 to 30.2 at (8, 8): even between"
    )
    require(not close(t, 6.5), "halfway between two references is not where the areas are equal: the line has a slope")
    require(close(t, 30.26 / 5, 1e-4), f"(0, 4.9), (4.9, 0) against (2.5, 2.5) are even at 6.052, not {t:.3f}")
    require(close(run(middle, wide) or 0.0, 30.26 / 5, 1e-4), "the two fronts exchanged are even at the same reference")
    shifted = [[(x + 100, y + 100) for x, y in front] for front in (wide, middle)]
    require(
        close(run(*shifted) or 0.0, 106.052, 1e-5),
        "both fronts moved by 100 in both objectives: so moves the reference; the line begins beyond *all points*",
    )
    require(
        run([(1.0, 1.0)], [(2.0, 2.0)]) is None,
        "(1, 1) is ahead of (2, 2) at every reference beyond them: the line meets zero before it begins, so []",
    )
    require(run(wide, wide) is None, "a front against itself is even everywhere: []")
    require(
        run([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], [(1.0, 3.0), (3.0, 1.0)]) is None,
        "(1, 3), (2, 2), (3, 1) is ahead of (1, 3), (3, 1) by the same area everywhere: [], and no division by 0",
    )
    draw = Cases(203)
    for _ in range(150):
        ours, theirs = (
            [(float(a), float(b) + 0.5) for a, b in draw.ids(12, draw.int(1, 4), 2).tolist()] for _ in range(2)
        )
        found, case = run(ours, theirs), f"{ours} against {theirs}"
        start = max(max(p) for p in (*ours, *theirs))
        first, second = (_area(ours, t) - _area(theirs, t) for t in (start, start + 1))
        there = abs(second - first) > 1e-9 and first * (second - first) < -1e-9
        require((found is not None) == there, f"{case}: {'they are even somewhere' if there else '[]'}, got {found}")
        if there:
            require(found > start, f"{case}: {found:.3f} is not beyond all points, where the largest number is {start}")
            gap = _area(ours, found) - _area(theirs, found)
            require(abs(gap) < 1e-6 * (1 + _area(ours, found)), f"{case}: at {found:.3f} the areas differ by {gap:.3g}")


def _area(front: Front, t: float) -> float:
    """Add up columns between the numbers of the first objective: each is as high as the best point to its left."""
    edges = sorted({x for x, _ in front} | {t})
    return sum(
        (right - left) * (t - min(y for x, y in front if x <= left))
        for left, right in zip(edges, edges[1:], strict=False)
    )


EXERCISE = Exercise(
    id="20.3",
    title="Where two fronts change places",
    minutes=15,
    difficulty=3,
    objective="Show that the order of two hypervolumes may depend on the reference, and say where it changes.",
    path="dlmlab.front.even_references",
    stub='''\
def even_references(ours: list, theirs: list) -> list[float]:
    """List the t at which two fronts dominate the same area at the reference (t, t), beyond the points of both.

    Points are pairs, both objectives minimized. Beyond all points, that is, for t larger than every number in either
    list, the difference of the two areas is a straight line in t. So the list holds one t or, if there is none (or
    every t is one), nothing.
    `dl.front.dominated_area(points, (t, t))` measures an area.
    """
    raise NotImplementedError
''',
    hints=(
        "Measure the difference of the areas at two references. Where does the line through them meet zero?",
        "Begin at the largest number of all. A line without a slope meets zero nowhere, or everywhere.",
        "slope = ahead(start + 1) - ahead(start), start the largest number; t = start - ahead(start) / slope, if it is "
        "beyond start",
    ),
    check=check_even_references,
)
