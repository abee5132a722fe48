"""Exercise 6.1. Points with ties in some objectives, in all, in none; one objective and many; budgets that are inf."""

from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, Cases, require
from dlmlab.course.exercises import Exercise

INF = float("inf")


def check_dominates(fn: Callable) -> None:
    """Judge an answer to 6.1."""
    require(
        not _run(fn, (2.0, 2.0), (1.0, 1.0)),
        "(2, 2) does not dominate (1, 1): every objective is a cost, lower is better",
    )
    require(_run(fn, (1.0, 1.0), (2.0, 2.0)), "(1, 1) dominates (2, 2): it is lower in both")
    require(
        not _run(fn, (1.0, 2.0), (1.0, 2.0)),
        "a point does not dominate an equal one: it must be better in at least one objective, else two equal models "
        "would throw each other out",
    )
    require(
        _run(fn, (1.0, 2.0), (1.0, 3.0)),
        "(1, 2) dominates (1, 3): equal in one objective and lower in another is enough",
    )
    require(
        not _run(fn, (0.0, 9.0), (1.0, 2.0)) and not _run(fn, (9.0, 0.0), (2.0, 1.0)),
        "lower in one objective and higher in another: neither dominates, whichever objective comes first",
    )
    require(
        not _run(fn, (0.0, 7.0), (6.0, 6.0)),
        "(0, 7) does not dominate (6, 6): objectives have no common unit, so they cannot be added up",
    )
    require(_run(fn, (1.0, 1.0, 1.0), (1.0, 1.0, 2.0)), "there may be more than two objectives: look at all of them")
    require(_run(fn, (1.0, INF), (2.0, INF)), "inf equals inf: compare the numbers, do not subtract them")
    draw = Cases(61)
    for _ in range(200):
        n = draw.int(1, 5)
        a, b = ([float(v) for v in draw.ids(3, n)] for _ in range(2))
        worse = sum(x > y for x, y in zip(a, b, strict=True))
        right = worse == 0 and a != b
        require(_run(fn, tuple(a), tuple(b)) == right, f"for {a} and {b} the answer is {right}")


def _run(fn: Callable, a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    got = fn(a, b)
    require(got is not None, NOTHING)
    require(got in (True, False), f"the result is a {type(got).__name__}, it should be True or False")
    return bool(got)


EXERCISE = Exercise(
    id="6.1",
    title="Who need not be considered",
    minutes=10,
    difficulty=1,
    objective="Compare models in several objectives without adding them up.",
    path="dlmlab.front.dominates",
    stub='''\
def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Say whether point a is at least as good as b in every objective and better in one (all minimized).

    a, b: one number an objective, as many in both; inf is a number like any other.
    """
    raise NotImplementedError
''',
    hints=(
        "Two conditions, and both are needed: nothing may be worse, something must be better.",
        "Walk through both points together. What do you ask of every pair of numbers, and what of at least one?",
        "all(x <= y for x, y in zip(a, b)) and any(x < y for x, y in zip(a, b))",
    ),
    check=check_dominates,
)
