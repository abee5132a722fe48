"""Exercise 3.5. Intervals on both sides of `small`, of zero and of each other; every word occurs, for every reason."""

from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, require
from dlmlab.course.exercises import Exercise

WORDS = ("read", "parked", "spare", "open")


def wanted(hide, empty, mean, small: float) -> str:
    """Decide by listing what each interval says: above small, within, or undecided."""

    def says(low: float, high: float) -> str:
        return "more" if low > small else "little" if high <= small else "perhaps"

    if says(*mean) == "more":
        return "read"
    if says(*mean) == "perhaps" or mean[0] < -small:
        return "open"
    others = {says(*hide), says(*empty)}
    return "parked" if "more" in others else "spare" if others == {"little"} else "open"


def check_role(fn: Callable) -> None:
    """Judge an answer to 3.5."""

    def ask(hide, empty, mean, expected: str, message: str, **options) -> None:
        out = fn(hide, empty, mean, **options)
        require(out is not None, NOTHING)
        require(isinstance(out, str) and out in WORDS, f"the result is {out!r}, it should be one of {', '.join(WORDS)}")
        require(out == expected, f"{message}; got {out!r}")

    ask(
        (1.8, 2.2),
        (0.9, 1.1),
        (0.0, 0.004),
        "parked",
        "hiding costs 2 nats, emptying 1, and the mean of all texts nothing: what this text says is not missed",
    )
    ask((1.8, 2.2), (0.9, 1.1), (0.6, 0.9), "read", "the mean costs 0.6 nats or more: something of this text was read")
    ask(
        (-0.01, 0.01),
        (0.9, 1.1),
        (0.0, 0.004),
        "parked",
        "emptying alone costs 1 nat: a constant is missed; one of the two is enough for a parking place",
    )
    ask(
        (1.8, 2.2),
        (0.0, 0.01),
        (0.0, 0.004),
        "parked",
        "hiding alone costs 2 nats: its attention goes elsewhere; one of the two is enough for a parking place",
    )
    ask(
        (0.0, 0.01),
        (0.0, 0.01),
        (0.5, 0.7),
        "read",
        "whoever misses what a text says there has read it, whatever hiding and emptying cost",
    )
    ask(
        (0.0, 0.01),
        (-0.01, 0.02),
        (-0.003, 0.004),
        "spare",
        "none of the three costs more than 0.02, and a cost of exactly `small` is not more",
    )
    ask(
        (1.8, 2.2),
        (0.9, 1.1),
        (-0.1, 0.3),
        "open",
        "the mean may cost 0.3 or nothing: an interval that contains `small` does not show that it costs nothing",
    )
    ask(
        (1.8, 2.2),
        (0.9, 1.1),
        (-0.4, -0.2),
        "open",
        "the mean helps by 0.2 or more: then what stands there is not without effect either",
    )
    ask(
        (-0.1, 0.3),
        (0.0, 0.01),
        (0.0, 0.004),
        "open",
        "hiding may cost 0.3: no parking place is shown, and no spare one; the middle of an interval decides nothing",
    )
    ask(
        (0.3, 0.4),
        (0.3, 0.4),
        (0.3, 0.4),
        "spare",
        "`small` is 0.5 here, and nothing costs more: is it used?",
        small=0.5,
    )
    edges = (-0.2, 0.0, 0.03, 0.1, 0.3)
    intervals = [(low, high) for low in edges for high in edges if low < high]
    for small in (0.05, 0.2):
        for hide, empty, mean in ((a, b, c) for a in intervals for b in intervals for c in intervals):
            expected = wanted(hide, empty, mean, small)
            message = f"hide {hide}, empty {empty}, mean {mean} with small = {small} is {expected!r}"
            ask(hide, empty, mean, expected, message, small=small)


EXERCISE = Exercise(
    id="3.5",
    title="Parked, read or spare?",
    minutes=15,
    difficulty=3,
    objective="Say which of three interventions tells a parking place from a source, and when none of them tells.",
    path="dlmlab.interventions.role",
    stub='''\
def role(hide: tuple, empty: tuple, mean: tuple, small: float = 0.02) -> str:
    """Say what a position is to a model from what three changes cost it, each (lowest, highest) plausible cost in nats.

    hide: no other query sees its key. empty: it hands over nothing. mean: it hands over the same in every text.
    "read": something that only this text says was used. "parked": shown that it was not, and yet the position is
    missed by hide or by empty (one is enough). "spare": nothing about it is missed. "open": the intervals do not tell.
    A cost counts when it is greater than `small`; so does an improvement by the mean of more than `small`, which
    leaves the role "open". An interval shows something only if all of it does.
    """
    raise NotImplementedError
''',
    hints=(
        "Two of the three changes take away what a text says together with a constant that is the same in all texts. "
        "Which one takes away only what the text says?",
        "Ask the intervention that decides first, and both of its ends: is all of its interval above `small`? Is all "
        "of it within `small` of zero? If neither, no other interval helps.",
        "mean[0] > small is read; mean outside [-small, small] otherwise is open; then any lower end above small is "
        "parked, both upper ends at most small is spare, and the rest is open.",
    ),
    check=check_role,
)
