"""Exercise 17.3. Models that see far, one place and none; places that are right again behind one that is not."""

import math
from collections.abc import Callable
from numbers import Integral

from dlmlab.course.checks.expect import NOTHING, Cases, require
from dlmlab.course.exercises import Exercise


def check_forwards_needed(fn: Callable) -> None:
    """Judge an answer to 17.3."""

    def run(right: list[float], length: int, *enough: float) -> int:
        n = fn(list(right), length, *enough)
        require(n is not None, NOTHING)
        require(
            isinstance(n, Integral) and not isinstance(n, bool),
            f"the result is a {type(n).__name__}, it should be an int",
        )
        return int(n)

    three = run([1.0, 1.0, 0.99, 0.5, 0.5, 0.5], 12)
    require(three != 3, "this is how far one forward sees; how many such stretches has the chain?")
    require(three != 10, "every forward writes a whole stretch, not only the first one")
    require(three == 4, f"three places a forward write twelve in 4 forwards, not {three}")
    behind = run([1.0, 0.6, 0.99, 0.99], 12)
    require(behind != 4, "a place behind one that is not right counts as nothing: its state was made from a guess")
    require(behind == 12, f"one place a forward: 12 forwards, not {behind}")
    rest = run([1.0] * 5 + [0.2], 12)
    require(rest != 2, "two forwards of five places leave two states over: they need one more")
    require(rest == 3, f"five places a forward write twelve in 3 forwards, not {rest}")
    require(run([1.0, 1.0], 7) == 4, "where no place fails, it sees as far as was measured: two places")
    require(run([0.95, 0.95, 0.9], 4) == 2, "`enough` itself is enough, and what is less is not")
    require(run([0.95, 0.9], 4, 0.9) == 2, "`enough` may be another share than 0.95")
    require(run([1.0] * 20, 5) == 1, "a forward that sees beyond the end is one forward")
    draw = Cases(173)
    for _ in range(30):
        horizon, length = draw.int(1, 8), draw.int(1, 40)
        right = [draw.int(90, 100) / 100 for _ in range(horizon)] + [draw.int(0, 89) / 100]
        right += [draw.int(0, 100) / 100 for _ in range(draw.int(0, 4))]
        n = run(right, length, 0.9)
        wanted = math.ceil(length / horizon)
        require(n == wanted, f"{horizon} places a forward, {length} states: {wanted} forwards, not {n}")
    try:
        none = fn([0.5, 1.0], 12)
    except ZeroDivisionError:
        raise AssertionError("a model that does not see the next state: say so, raise ValueError") from None
    except ValueError:
        none = None
    require(none is None, "a model that does not see the next state writes no chain at all: raise ValueError")


EXERCISE = Exercise(
    id="17.3",
    title="How far, and how often",
    minutes=8,
    difficulty=2,
    objective="Foresee from one forward in how many forwards a chain can be written.",
    path="dlmlab.chain.forwards_needed",
    stub='''\
def forwards_needed(right: Sequence[float], length: int, enough: float = 0.95) -> int:
    """Say in how many forwards a chain can be written, if each one writes as far as it sees.

    `right`: share of right states one place ahead of what is known, two places ahead, ..., of one forward. It sees as
    far as all places up to there have `enough` or more; each forward writes as many. Raises ValueError if it does not
    see even one place.
    """
    raise NotImplementedError
''',
    hints=(
        "A model sees three places ahead. How many forwards have to follow one another for twelve places, and for "
        "thirteen?",
        "Count the places from the first one up to the first that is not right often enough; those behind it do not "
        "count. Divide the length by that number, and round up.",
        "horizon = next((i for i, p in enumerate(right) if p < enough), len(right)); math.ceil(length / horizon)",
    ),
    check=check_forwards_needed,
)
