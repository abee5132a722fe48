"""Exercise 9.1. Effects on both sides of zero, intervals that touch it, overlap or do not, in every combination."""

from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, Cases, require
from dlmlab.course.exercises import Exercise

WORDS = ("stands", "same sign, other size", "not shown any more", "turned round", "still not shown", "shown only now")


def _shown(interval: tuple[float, float]) -> str:
    if min(interval) > 0:
        return "above"
    return "below" if max(interval) < 0 else ""


def _word(first: tuple, second: tuple, change: tuple) -> str:
    a, b = _shown(first), _shown(second)
    if a and b:
        return WORDS[3] if a != b else WORDS[1 if _shown(change) else 0]
    return WORDS[2] if a else WORDS[5] if b else WORDS[4]


def check_again(fn: Callable) -> None:
    """Judge an answer to 9.1."""

    def run(first: tuple, second: tuple, change: tuple) -> str:
        found = fn(first, second, change)
        require(found is not None, NOTHING)
        require(found in WORDS, f"{found!r} is none of the six words: {', '.join(WORDS)}")
        return found

    still = (-1.0, 1.0)
    plain = run((1.0, 3.0), (0.8, 2.6), still)
    require(plain == WORDS[0], f"both above zero and no change shown: stands, not {plain!r}")
    below = run((-3.0, -1.0), (-2.6, -0.8), still)
    require(below == WORDS[0], f"an effect below zero can stand as well: both are below, and yours says {below!r}")
    apart = run((1.0, 3.0), (8.0, 9.0), (5.5, 7.5))
    require(
        apart == WORDS[1], f"same sign, and the change is shown: {WORDS[1]}, not {apart!r}; did you look at the change?"
    )
    lesser = run((8.0, 9.0), (1.0, 3.0), (-7.5, -5.5))
    require(lesser == WORDS[1], f"a change below zero is shown, too: smaller is another size, not {lesser!r}")
    over = run((1.0, 5.0), (2.0, 8.0), (0.5, 3.5))
    require(
        over == WORDS[1],
        "two intervals that overlap can still differ, problem by problem: only the interval of the change says so",
    )
    gap = run((1.0, 2.0), (2.5, 3.5), (-0.2, 3.0))
    require(gap == WORDS[0], "two intervals that do not overlap, and a change that is not shown: ask the change")
    gone = run((1.0, 3.0), (-0.1, 1.9), still)
    require(gone == WORDS[2], f"shown first, and the second interval holds zero: {WORDS[2]}, not {gone!r}")
    moved = run((4.0, 6.0), (-1.0, 1.0), (-6.0, -4.0))
    require(
        moved == WORDS[2], "the second effect is not shown: whatever the change says, nothing is left to have a size"
    )
    turned = run((1.0, 3.0), (-3.0, -1.0), (-6.0, -2.0))
    require(turned == WORDS[3], f"first above, then below: turned round, not {turned!r}")
    back = run((-3.0, -1.0), (1.0, 3.0), (2.0, 6.0))
    require(back == WORDS[3], f"first below, then above: turned round, not {back!r}")
    touch = run((0.0, 2.0), (0.5, 2.0), still)
    require(
        touch == WORDS[5], "an interval that ends at zero holds it: nothing was shown first, so it is shown only now"
    )
    edge = run((0.5, 2.0), (-2.0, 0.0), still)
    require(edge == WORDS[2], "an interval that ends at zero holds it: the second effect is not shown")
    none = run((-1.0, 1.0), (-0.5, 0.9), still)
    require(none == WORDS[4], "nothing shown twice is no standing verdict: still not shown")
    draw = Cases(91)
    for _ in range(300):
        intervals = []
        for _ in range(3):
            middle, half = draw.int(-4, 5), draw.int(0, 5)
            intervals.append((float(middle - half), float(middle + half)))
        found, right = run(*intervals), _word(*intervals)
        require(
            found == right, f"first {intervals[0]}, second {intervals[1]}, change {intervals[2]}: {right}, not {found}"
        )


EXERCISE = Exercise(
    id="9.1",
    title="What became of it?",
    minutes=10,
    difficulty=2,
    objective="Tell a verdict that fell from one that is merely not shown again.",
    path="dlmlab.replication.again",
    stub='''\
def again(first: tuple, second: tuple, change: tuple) -> str:
    """Say what became of a verdict, from three intervals (low, high): of the first effect, of the second, and of
    second - first. An interval shows something when all of it lies on one side of zero; one that touches zero does not.

    "stands", or "same sign, other size" where a change is shown; "not shown any more"; "turned round"; and where the
    first effect was not shown: "still not shown" or "shown only now".
    """
    raise NotImplementedError
''',
    hints=(
        "What does each of the three intervals show, taken alone: above, below, or nothing?",
        "Write a helper that gives 1, -1 or 0 for an interval. Then first zero or not, second zero or not, equal or "
        "not; the change is asked last, and only where both are shown with one sign.",
        "side = lambda i: 1 if i[0] > 0 else -1 if i[1] < 0 else 0; a, b, c = map(side, (first, second, change)); "
        "then: if not a, by b; if not b, not shown any more; if a != b, turned round; else by c",
    ),
    check=check_again,
)
