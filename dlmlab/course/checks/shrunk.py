"""Exercise 20.2. Contradictions of one name, of two, of three; several that overlap; the first and the last name."""

from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, Cases, require
from dlmlab.course.exercises import Exercise

Clashes = list[frozenset[str]]  # sets of names that cannot all hold


def check_shrunk(fn: Callable) -> None:
    """Judge an answer to 20.2."""

    def run(names: list[str], clashes: Clashes) -> list[str]:
        given = list(names)

        def consistent(some):
            require(isinstance(some, list), f"consistent() takes a list, it was given a {type(some).__name__}")
            return not any(clash <= set(some) for clash in clashes)

        found = fn(given, consistent)
        require(given == names, "the list of names was changed: the caller still needs it, use a copy")
        require(found is not None, NOTHING)
        require(isinstance(found, list), f"the result is a {type(found).__name__}, it should be a list")
        strange = [name for name in found if name not in names]
        require(not strange and len(set(found)) == len(found), f"{found} is no choice among {names}, each at most once")
        return found

    def judge(names: list[str], clashes: Clashes) -> None:
        found = run(names, clashes)
        case = f"of {names} with the contradictions {[sorted(clash) for clash in clashes]}"
        kept = set(found)
        require(
            any(clash <= kept for clash in clashes),
            f"{case} you keep {found}: these can all hold; look whether what is *left* is still a contradiction",
        )
        spare = [name for name in found if any(clash <= kept - {name} for clash in clashes)]
        require(
            not spare, f"{case} you keep {found}: {spare[:1]} can be left out, and the rest is still a contradiction"
        )
        right = _first_to_last(names, clashes)
        require(found == right, f"{case} you keep {found}; left out from the first to the last name, it is {right}")

    a, b, c, d = "abcd"
    for clashes in (
        [{b}],
        [{a}],
        [{d}],
        [{a, c}],
        [{b, c, d}],
        [{a, b}, {c, d}],
        [{a, b}, {b, c}],
        [{a}, {b}],
        [{a, d}],
    ):
        judge([a, b, c, d], [frozenset(clash) for clash in clashes])
    judge([a], [frozenset({a})])
    draw = Cases(202)
    for _ in range(150):
        names = [f"n{i}" for i in range(draw.int(1, 7))]
        clashes = [
            frozenset(names[i] for i in draw.order(len(names), min(draw.int(1, 3), len(names))).tolist())
            for _ in range(draw.int(1, 4))
        ]
        judge(names, clashes)


def _first_to_last(names: list[str], clashes: Clashes) -> list[str]:
    """Keep the contradiction whose first name comes last: what can go early goes."""
    left = set(names)
    for name in names:
        if any(clash <= left - {name} for clash in clashes):
            left.discard(name)
    return [name for name in names if name in left]


EXERCISE = Exercise(
    id="20.2",
    title="Which of them cannot all hold",
    minutes=15,
    difficulty=3,
    objective="Shrink a contradiction until nothing can be left out, and say what that does not tell.",
    path="dlmlab.constraints.shrunk",
    stub='''\
def shrunk(names: list, consistent: Callable[[list], bool]) -> list:
    """Leave out of a list whatever is not needed for a contradiction, trying the names from the first to the last.

    consistent(some) says whether the names in a list can all hold; the whole list cannot. What you return, in the order
    of `names`, cannot either, and without any one of it the rest could. `names` is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Two names contradict each other. Can you find them by asking about each name alone?",
        "Leave the first name out. If what is left is still a contradiction, it was not needed: let it go for good, "
        "and ask the next question about what is left.",
        "for name in names: rest = [x for x in left if x != name]; if not consistent(rest): left = rest",
    ),
    check=check_shrunk,
)
