"""Exercise 5.4. Means that are no whole numbers, one phase, one choice, choices out of order."""

from collections.abc import Callable
from numbers import Rational

from dlmlab.course.checks.expect import NOTHING, Cases, require
from dlmlab.course.exercises import Exercise


def _right(choices: tuple[int, ...], phases: int) -> dict[int, list[tuple[int, ...]]]:
    """Every schedule by the sum of its bits."""
    every: list[tuple[int, ...]] = [()]
    for _ in range(phases):
        every = [(*bits, b) for bits in every for b in choices]
    return {total: [bits for bits in every if sum(bits) == total] for total in dict.fromkeys(map(sum, every))}


def _run(fn: Callable, choices: tuple[int, ...], phases: int) -> dict:
    found = fn(choices, phases)
    require(found is not None, NOTHING)
    require(isinstance(found, dict), f"the result is a {type(found).__name__}, it should be a dict: mean -> schedules")
    exact = all(isinstance(mean, Rational) for mean in found)
    require(exact, "a mean such as 28/3 has no exact float: use fractions.Fraction as the key")
    return found


def check_assignments(fn: Callable) -> None:
    """Judge an answer to 5.4."""
    case = "2 phases of 4 or 8 bits"
    found = _run(fn, (4, 8), 2)
    every = [tuple(bits) for group in found.values() for bits in group]
    require((4, 4) in every, f"{case}: 4, 4 is missing; a phase may have the bits of another one")
    require(
        {(4, 8), (8, 4)} <= set(every), f"{case}: 4 then 8 and 8 then 4 are two schedules, the order is the question"
    )
    require(set(found) != {8, 12, 16}, "the key is the sum, it should be the mean over the phases")
    require(set(found) == {4, 6, 8}, f"{case} have the means 4, 6 and 8; got {sorted(map(str, found))}")
    require(len(found[6]) == 2, f"{case}: two schedules have the mean 6, got {found[6]}")
    draw = Cases(54)
    named = [((4, 8, 16), 3), ((4, 8), 1), ((5,), 3), ((2, 3, 4), 4), ((16, 3), 2)]
    random = [(tuple(1 + draw.order(16, draw.int(1, 4))), draw.int(1, 4)) for _ in range(8)]
    for choices, phases in (*named, *random):
        choices = tuple(map(int, choices))
        found, right = _run(fn, choices, phases), _right(choices, phases)
        case = f"choices {choices}, {phases} phases"
        sums = {mean * phases: group for mean, group in found.items()}
        require(set(sums) == set(right), f"{case}: there are {len(right)} means, and the {len(found)} keys are others")
        for total, group in right.items():
            got, mean = [tuple(bits) for bits in sums[total]], f"{total}/{phases}"
            require(len(got) == len(set(got)), f"{case}: a schedule of mean {mean} is listed twice")
            require(
                set(got) == set(group), f"{case}: mean {mean} has {len(group)} schedules such as {group[0]}, got {got}"
            )


EXERCISE = Exercise(
    id="5.4",
    title="Schedules of equal mean bits",
    minutes=10,
    difficulty=2,
    objective="List what may be compared with each other when precision changes over a run.",
    path="dlmlab.precision.assignments",
    stub='''\
def assignments(choices: tuple = (4, 8, 16), phases: int = 3) -> dict:
    """List every assignment of bits to the phases of a run, by its mean bits.

    Keys are exact means, `fractions.Fraction`; each list holds the schedules of that mean, one number of bits a phase.
    Example: choices (4, 8) and 2 phases give {4: [(4, 4)], 6: [(4, 8), (8, 4)], 8: [(8, 8)]}.
    """
    raise NotImplementedError
''',
    hints=(
        "How many schedules are there in all, for three choices and three phases? Early-high and late-high are two.",
        "The product of the choices with themselves, phase by phase, lists them; then sort them into drawers by mean.",
        "for bits in itertools.product(choices, repeat=phases): found.setdefault(Fraction(sum(bits), phases), [])"
        ".append(bits)",
    ),
    check=check_assignments,
)
