"""Exercise 19.2. Scores of few and many requests, ties, a test set that is nothing like validation."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_alarms(fn: Callable) -> None:
    """Judge an answer to 19.2."""

    def run(scores: Tensor, validation: Tensor, allowed: Tensor, at_most: float) -> Tensor:
        with untouched(scores=scores, validation=validation, allowed=allowed):
            found = fn(scores, validation, allowed, at_most)
        expect_tensor(found, tuple(scores.shape), torch.bool)
        return found

    seen = torch.tensor([0.4, 0.1, 0.9, 0.2, 0.95, 0.3])
    allowed = torch.tensor([True, True, False, True, False, True])  # 0.4, 0.1, 0.2, 0.3
    test = torch.tensor([0.35, 0.8, 0.05, 0.6])
    found = run(test, seen, allowed, 0.25).tolist()
    require(found != [False, True, False, False], "the test was judged by its own ranks: the threshold is validation's")
    require(
        run(torch.tensor([0.25, 0.3]), seen, allowed, 0.25).tolist() != [False, True],
        "0.3 is the threshold, of four allowed scores one lies above it: an alarm is a score above, not at it",
    )
    require(
        found != [False, False, False, False],
        "forbidden validation requests moved the threshold: the promise is about false alarms, so allowed ones set it",
    )
    require(
        [bool(run(torch.tensor([s]), seen, allowed, 0.25)[0]) for s in (0.2, 0.25, 0.3, 0.31)] == [False] * 3 + [True],
        "0.1, 0.2, 0.3, 0.4 and at most a quarter: one of them may lie above the threshold, which is 0.3",
    )
    require(found == [True, True, False, True], f"threshold 0.3: 0.35, 0.8 and 0.6 raise an alarm, 0.05 not: {found}")
    alone = [bool(run(test[i : i + 1], seen, allowed, 0.25)[0]) for i in range(4)]
    require(alone == found, "a request is judged by itself: who else is in the test must not matter")
    require(
        run(torch.tensor([0.4, 0.41]), seen, allowed, 0.0).tolist() == [False, True],
        "no false alarm at all: the threshold is the largest allowed score, 0.4",
    )
    ties = torch.tensor([0.5, 0.5, 0.5, 0.1])
    require(
        not run(torch.tensor([0.5]), ties, torch.ones(4, dtype=torch.bool), 0.25)[0],
        "three of four allowed requests share the score 0.5: an alarm there would bother three, not one",
    )
    require(
        run(torch.tensor([0.34, 0.35]), seen, allowed, 0.49).tolist() == [True, True]
        and not run(torch.tensor([0.3]), seen, allowed, 0.49)[0],
        "0.49 of four requests is one whole request, not two: round down",
    )
    draw = Cases(192)
    for P, n, share in ((1, 3, 0.7), (40, 60, 0.5), (200, 140, 0.9), (7, 20, 1.0)):
        for at_most in (0.0, 0.05, 0.3, 0.9):
            scores, validation = draw.uniform(P), (20 * draw.uniform(n)).round() / 20
            ok = draw.bools(n, share=share)
            ok[0] = True
            right = _slowly(scores, validation, ok, at_most)
            expect_same(run(scores, validation, ok, at_most), right, f"{P} requests, {n} of validation, {at_most:.0%}")


def _slowly(scores: Tensor, validation: Tensor, allowed: Tensor, at_most: float) -> Tensor:
    """Try every allowed score as the threshold, from below."""
    quiet = [float(v) for v, ok in zip(validation, allowed, strict=True) if ok]
    for threshold in sorted(quiet):
        if sum(v > threshold for v in quiet) <= at_most * len(quiet) + 1e-9:
            return torch.tensor([float(s) > threshold for s in scores])
    raise AssertionError("no threshold")


EXERCISE = Exercise(
    id="19.2",
    title="Whom an alarm bothers",
    minutes=15,
    difficulty=3,
    objective="Choose the threshold of a monitor from a promise about false alarms, on other requests than those it is "
    "judged on.",
    path="dlmlab.monitor.alarms",
    stub='''\
def alarms(scores: Tensor, validation: Tensor, allowed: Tensor, at_most: float) -> Tensor:
    """Say on which requests a monitor raises an alarm: those above a threshold that validation sets, (P,) bool.

    The threshold is one of the scores of allowed validation requests, the least one above which lies a share of at most
    `at_most` of them (`at_most` < 1). Shapes: scores (P,) of the requests to judge, validation (n,) of others, allowed
    (n,) bool, of which requests among these are allowed.
    """
    raise NotImplementedError
''',
    hints=(
        "Which of the three lists may the threshold depend on? Cross the others out.",
        "Sort the allowed validation scores. Of m of them, the whole part of at_most times m may lie above it.",
        "quiet = validation[allowed].sort().values; may = math.floor(at_most * len(quiet) + 1e-9); return scores > "
        "quiet[len(quiet) - 1 - may]",
    ),
    check=check_alarms,
)
