"""Exercise 6.6. Boxes that overlap, points in any order, dominated, equal, on the edge and outside; the oracle counts
cells of a grid."""

from collections.abc import Callable, Sequence
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise

Points = Sequence[tuple[float, float]]


def check_dominated_area(fn: Callable) -> None:
    """Judge an answer to 6.6."""
    got = _run(fn, [(1.0, 2.0)], (4.0, 7.0))
    require(not close(got, 15 / 28), "an area, not a share: nothing is divided by a box here")
    require(not close(got, 2.0), "that is the box between the point and zero; what it dominates lies on the other side")
    require(close(got, 15.0), f"one point, (1, 2), and the reference (4, 7): a box of 3 by 5, got {got:.4g}")
    stairs, reference = [(1.0, 4.0), (3.0, 2.0), (4.0, 1.0)], (6.0, 5.0)
    got = _run(fn, stairs, reference)
    require(not close(got, 22.0), "the boxes overlap: what several points dominate is one area and counts once")
    require(not close(got, 20.0), "no model is as good as the best of each: the corner of the stairs is empty")
    require(not close(got, 9.0), "the largest box is not all: another point dominates what this one does not")
    require(not close(got, 15.5), "stairs, no slope: between two points there is no model, and nothing is dominated")
    require(close(got, 13.0), f"(1, 4), (3, 2), (4, 1) and the reference (6, 5): 5 + 6 + 2 = 13, got {got:.4g}")
    got = _run(fn, [stairs[1], stairs[2], stairs[0]], reference)
    require(close(got, 13.0), f"the same points in any order have the same area, got {got:.4g} in place of 13")
    for more, what in (([(3.0, 2.0)], "an equal point"), ([(4.0, 3.0), (5.0, 4.0)], "dominated points")):
        got = _run(fn, [*stairs, *more], reference)
        require(
            close(got, 13.0), f"{what} added to (1, 4), (3, 2), (4, 1) should change nothing, the area is {got:.4g}"
        )
    for outside in ((7.0, 0.0), (0.0, 8.0), (7.0, 9.0), (6.0, 0.0)):
        got = _run(fn, [*stairs, outside], reference)
        require(
            close(got, 13.0),
            f"{outside} is not below the reference (6, 5) in both objectives: it adds nothing, the area is {got:.4g}",
        )
    require(close(_run(fn, [], reference), 0.0), "no points dominate nothing: the area is 0")
    draw = Cases(66)
    for _ in range(150):
        span, start = draw.int(2, 9), draw.int(-6, 6)
        points = [(start + a, b - start / 2) for a, b in draw.ids(span, draw.int(0, 7), 2).tolist()]
        at = (start + draw.int(1, 9), draw.int(1, 9) - start / 2)
        right = _cells(points, at)
        got = _run(fn, points, at)
        require(close(got, right), f"for {points} and the reference {at} the area is {right:g}, got {got:.4g}")


def _cells(points: Points, reference: tuple[float, float]) -> float:
    """Cut the plane at every number there is, and add up the cells whose lower corner a point is no worse than."""
    xs, ys = (sorted({p[axis] for p in (*points, reference) if p[axis] <= reference[axis]}) for axis in (0, 1))
    return sum(
        (right - left) * (above - below)
        for left, right in zip(xs, xs[1:], strict=False)
        for below, above in zip(ys, ys[1:], strict=False)
        if any(x <= left and y <= below for x, y in points)
    )


def _run(fn: Callable, points: Points, reference: tuple[float, float]) -> float:
    given = list(points)
    got = fn(given, reference)
    require(given == list(points), "the list of points was changed: the caller still needs it, sort a copy")
    require(got is not None, NOTHING)
    require(isinstance(got, Real), f"the result is a {type(got).__name__}, it should be a number")
    return float(got)


EXERCISE = Exercise(
    id="6.6",
    title="The area under a front",
    minutes=15,
    difficulty=2,
    objective="Compute a hypervolume of two objectives, and see what its reference does.",
    path="dlmlab.front.dominated_area",
    stub='''\
def dominated_area(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Measure the union of the boxes between each point and the reference.

    points: pairs, both objectives minimized, in any order; there may be none, equal and dominated ones among them. What
    is not below the reference in both objectives adds nothing. The list is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Draw two points, the reference and their boxes. Which part would be counted twice?",
        "Walk through the points from the lowest first objective on, and remember the lowest second objective so far. "
        "Only a point that goes below it adds something: a strip from itself to the reference.",
        "for x, y in sorted(points): if x < reference[0] and y < low: area += (reference[0] - x) * (low - y); low = y",
    ),
    check=check_dominated_area,
)
