"""Exercise 6.4. Find the leak; the oracle is what was asked of the test split, when, and how often."""

from collections.abc import Callable
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise


def check_choose_then_test(fn: Callable) -> None:
    """Judge an answer to 6.4."""
    place, _, _ = _run(fn, [3.0, 1.0, 2.0], [0.5, 5.0, 0.1])
    require(place != 0, "losses are chosen by the least, not by the largest or the first")
    require(place == 1, "the second has the least loss on validation: what it has on the test decides nothing")
    place, _, _ = _run(fn, [2.0, 1.0, 1.0, 1.0], [0.0, 4.0, 3.0, 2.0])
    require(place == 1, "of equal losses on validation the first is taken: the test may not break the tie")
    draw = Cases(64)
    for _ in range(60):
        n = draw.int(1, 9)
        validation, test = (draw.uniform(n, low=0.5, high=9.0).tolist() for _ in range(2))
        place, loss, asked = _run(fn, validation, test)
        right = validation.index(min(validation))
        require(place == right, f"of {n} random candidates number {place} is chosen, number {right} is right")
        require(
            close(loss, test[right]),
            "what is reported is the loss on the test: that on validation was looked at to choose, so it flatters",
        )
        tested = [i for split, i in asked if split == "test"]
        require(
            set(tested) == {right},
            "the leak: the test was asked about candidates that were not chosen. Whoever has these numbers has looked",
        )
        require(len(tested) == 1, f"the test was asked {len(tested)} times about one model: once is enough")
        require(asked[-1][0] == "test", "the test is asked last, when nothing can be changed any more")
        require(len(asked) == n + 1, f"{n} candidates need {n} evaluations on validation, there were {len(asked) - 1}")
    try:
        fn([], lambda row: 0.0, lambda row: 0.0)
    except ValueError:
        return
    raise AssertionError("no candidates: nothing can be chosen, that is a ValueError")


def _run(fn: Callable, validation: list[float], test: list[float]) -> tuple[int, float, list[tuple[str, int]]]:
    """Return the answer, and what was asked of which split, in order."""
    asked: list[tuple[str, int]] = []
    rows = [{"name": f"model {i}"} for i in range(len(validation))]

    def measure(split: str, losses: list[float]) -> Callable[[dict], float]:
        def loss(row: dict) -> float:
            i = int(row["name"].split()[1])
            asked.append((split, i))
            return losses[i]

        return loss

    out = fn(rows, measure("validation", validation), measure("test", test))
    require(out is not None, NOTHING)
    require(isinstance(out, tuple) and len(out) == 2, "the result is a pair: the place of the chosen one and its loss")
    require(
        isinstance(out[0], int) and 0 <= out[0] < len(rows),
        f"the first of the pair is a {type(out[0]).__name__}, it should be a place among the candidates, from 0 on",
    )
    require(isinstance(out[1], Real), f"the second of the pair is a {type(out[1]).__name__}, it should be a number")
    return out[0], float(out[1]), asked


EXERCISE = Exercise(
    id="6.4",
    title="A search that looks at the test: find the leak",
    minutes=10,
    difficulty=2,
    objective="Keep what is reported apart from what was looked at to choose.",
    path="dlmlab.validation.choose_then_test",
    kind="find the bug",
    stub='''\
def choose_then_test(
    candidates: Sequence, validate: Callable[[object], float], test: Callable[[object], float]
) -> tuple[int, float]:
    """Choose the candidate with the least loss on validation problems, the first of equals; then test it.

    Returns its place among the candidates and its loss on the test. Raises ValueError for no candidates.
    """
    if not candidates:
        raise ValueError("no candidates to choose from")
    losses = [validate(candidate) for candidate in candidates]
    order = sorted(range(len(candidates)), key=losses.__getitem__)
    tested = {place: test(candidates[place]) for place in order[:3]}  # a shortlist, to be sure
    best = min(tested, key=tested.__getitem__)
    return best, tested[best]
''',
    hints=(
        "Suppose all candidates are equally good, and both losses are noise. What does this function report?",
        "Count how often the test is asked, and about whom. After the first answer it is a validation split like any "
        "other.",
        "best = order[0]; return best, test(candidates[best])",
    ),
    check=check_choose_then_test,
)
