"""Exercise 8.6. Schedules in any order, several with as many forwards, accuracies that do not rise with the cost."""

from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, Cases, require
from dlmlab.course.exercises import Exercise


def check_fair_control(fn: Callable) -> None:
    """Judge an answer to 8.6."""
    rows = [{"nfe": 2.0, "exact_match": 0.9}, {"nfe": 4.0, "exact_match": 0.5}, {"nfe": 9.0, "exact_match": 0.95}]
    got = _run(fn, rows, 3.1)
    require(
        got["nfe"] >= 3.1,
        "the control has fewer forwards than the rule: beating it says nothing, because it was never given as many",
    )
    require(got == rows[1], "the control has more forwards than it needs: take the cheapest that has enough of them")
    require(
        _run(fn, rows, 4.0)["nfe"] == 4.0,
        "as many forwards are enough: a rule with 4.0 is compared with a schedule of 4",
    )
    draw = Cases(0)
    for _ in range(120):
        n = draw.int(1, 9)
        rows = [{"nfe": draw.int(1, 6) / 1.0, "exact_match": draw.int(0, 500) / 500} for _ in range(n)]
        nfe = draw.int(0, int(10 * max(row["nfe"] for row in rows))) / 10
        got, right = _run(fn, rows, nfe), None
        for row in rows:
            if row["nfe"] >= nfe and (right is None or row["nfe"] < right["nfe"]):
                right = row
            elif row["nfe"] == (right or row)["nfe"] >= nfe and row["exact_match"] > right["exact_match"]:
                right = row
        require(
            got["nfe"] == right["nfe"],
            f"a rule with {nfe} forwards needs a control with {right['nfe']} of them, got {got['nfe']}",
        )
        require(got == right, "of several schedules with as many forwards the most accurate is the opponent")
    try:
        got = fn([{"nfe": 2.0, "exact_match": 0.9}], 3.0)
    except ValueError:
        return
    raise AssertionError("no schedule has as many forwards: that is a ValueError, not a weaker control")


def _run(fn: Callable, rows: list[dict], nfe: float) -> dict:
    copies = [dict(row) for row in rows]
    got = fn(rows, nfe)
    require(rows == copies, "the schedules were changed: the table needs them as they are")
    require(got is not None, NOTHING)
    require(
        isinstance(got, dict) and "nfe" in got, f"the result is a {type(got).__name__}, it should be one of the rows"
    )
    return got


EXERCISE = Exercise(
    id="8.6",
    title="A control that cannot win: find the bug",
    minutes=10,
    difficulty=2,
    objective="Give a control at least as much as what it controls.",
    path="dlmlab.control.fair_control",
    kind="find the bug",
    stub='''\
def fair_control(schedules: list[dict], nfe: float) -> dict:
    """Choose the blind schedule that a rule with `nfe` forwards a problem has to beat, as a fair opponent.

    Each schedule is a row with "nfe" and "exact_match". Of several with as many forwards, the most accurate. Raises
    ValueError where no schedule is a fair opponent.
    """
    allowed = [row for row in schedules if row["nfe"] <= nfe]
    if not allowed:
        raise ValueError(f"no control for {nfe} forwards")
    return max(allowed, key=lambda row: row["exact_match"])
''',
    hints=(
        "A rule takes three forwards in the mean. Which schedules does the code compare it with? Print their forwards.",
        "An opponent is fair when it was given as much; and it should not be given more than it takes to be fair.",
        'allowed has row["nfe"] >= nfe; return the min of it by (row["nfe"], -row["exact_match"]).',
    ),
    check=check_fair_control,
)
