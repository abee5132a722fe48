"""Exercise 21.3. Find the error of a percentage: tasks with and without a floor, losses, gains, all lost."""

from collections.abc import Callable
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise


def check_share_lost(fn: Callable) -> None:
    """Judge an answer to 21.3."""

    def run(before: float, after: float, chance: float = 0.0) -> float:
        found = fn(before, after, chance)
        require(found is not None, NOTHING)
        require(isinstance(found, Real), f"the result is a {type(found).__name__}, it should be a number")
        return float(found)

    ruin = run(0.7, 0.5, 0.5)
    for message, wrong in {
        "a model that answers no better than chance has lost everything that it had; the share is of what it had "
        "*above chance*": 2 / 7,
        "that is a difference in points: divide by what there was to lose": 0.2,
        "that is what is left, not what is lost": 0.0,
        "the share is of what was there *before*, not of what is there now": 0.4,
        "the loss is positive, a gain negative: before less after": -1.0,
        "the share is 1 at most, not percent": 100.0,
    }.items():
        require(not close(ruin, wrong, 1e-7), message)
    require(close(ruin, 1.0), f"from 0.7 to a chance of 0.5 everything is lost: 1, not {ruin:.3f}")
    plain = run(0.8, 0.6)
    require(close(plain, 0.25), f"without a floor 0.2 of 0.8 are a quarter, not {plain:.3f}")
    better = run(0.6, 0.7, 0.2)
    require(
        close(better, -0.25), f"a gain is a negative loss: 0.6 to 0.7 over a chance of 0.2 is -0.25, not {better:.3f}"
    )
    below = run(0.6, 0.3, 0.4)
    require(close(below, 1.5), f"below chance more than everything is lost: 1.5, not {below:.3f}")
    draw = Cases(213)
    for _ in range(20):
        chance, room, left = (float(draw.int(0, 40)), float(draw.int(1, 50)), float(draw.int(0, 90)))
        found, right = run(chance + room, left, chance), (chance + room - left) / room
        require(
            close(found, right, 1e-5),
            f"{chance + room:g} before, {left:g} after, chance {chance:g}: {found:.3f}, it should be {right:.3f}",
        )


EXERCISE = Exercise(
    id="21.3",
    title="A percent of what? Find the bug",
    minutes=5,
    difficulty=2,
    objective="Say of a loss what it is a share of.",
    path="dlmlab.drops.share_lost",
    kind="find the bug",
    stub='''\
def share_lost(before: float, after: float, chance: float = 0.0) -> float:
    """Say which share of what a model knew is lost, 0 to 1.

    before, after: accuracies; chance: what a guess has that knows nothing, all in one unit.
    """
    return (before - after) / before  # a drop from 0.7 to 0.5 is less than a third
''',
    hints=(
        "Two answers to choose from, and a model that is right half of the time. What does it know?",
        "Knowing nothing is not 0 but chance. Measure both accuracies from there.",
        "return (before - after) / (before - chance)",
    ),
    check=check_share_lost,
)
