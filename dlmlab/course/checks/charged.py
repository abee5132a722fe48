"""Exercise 13.3. Find the error of a count: texts that are read once, in many versions, in some calls, and never."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_charged(fn: Callable) -> None:
    """Judge an answer to 13.3."""
    got = _run(fn, [[0, 1], [0, 1], [0, 0, 0, 0]], 2)
    require(
        got.tolist() != [3, 2],
        "four versions of a text in one call are four forwards: each goes through every layer; here they count as one",
    )
    require(got.tolist() != [6, 6], "the rows of a call are charged to the text they are of, not to all texts")
    require(
        got.tolist() == [6, 2],
        f"two calls with both texts, one with four versions of the first: 6 and 2, got {got.tolist()}",
    )
    require(_run(fn, [[1]], 3).tolist() == [0, 1, 0], "a text that was never read is charged with 0, and has its place")
    require(_run(fn, [], 2).tolist() == [0, 0], "no call, no charge: a count for each text all the same")
    draw = Cases(133)
    for texts, calls, most in ((1, 3, 4), (4, 5, 6), (7, 2, 12), (3, 9, 1), (12, 4, 30), (2, 6, 5)):
        lists = [draw.ids(texts, draw.int(0, most)).tolist() for _ in range(calls)]
        right = [sum(row.count(text) for row in lists) for text in range(texts)]
        expect_same(_run(fn, lists, texts), torch.tensor(right), f"{texts} texts, {calls} calls")
    for wrong in ([[0, 2]], [[-1]], [[0], [1, 5]]):
        try:
            fn([torch.tensor(row) for row in wrong], 2)
        except ValueError:
            continue
        raise AssertionError(f"two texts, and the calls {wrong} name one that is not there: that is a ValueError")


def _run(fn: Callable, lists: Sequence[list[int]], texts: int) -> Tensor:
    calls = [torch.tensor(row, dtype=torch.long) for row in lists]
    with untouched(**{f"call_{i}": call for i, call in enumerate(calls)}):
        got = fn(calls, texts)
    expect_tensor(got, (texts,), torch.int64)
    return got


EXERCISE = Exercise(
    id="13.3",
    title="A count that flatters: find the bug",
    minutes=8,
    difficulty=2,
    objective="Count what a method reads, not how often it asks.",
    path="dlmlab.trust.charged",
    kind="find the bug",
    stub='''\
def charged(calls: Sequence[Tensor], texts: int) -> Tensor:
    """Count the forwards that each text is charged with, (texts,): the sequences that were read for it.

    calls: for every call of the network, whose text each of its sequences was, (R,) whole numbers below `texts`. Raises
    ValueError for a text that is not there.
    """
    count = torch.zeros(texts, dtype=torch.long)
    for whose in calls:
        if bool(((whose < 0) | (whose >= texts)).any()):
            raise ValueError(f"texts are 0..{texts - 1}")
        count[whose] += 1
    return count
''',
    hints=(
        "What does it charge for exercise 13.1, which shows the network forty versions of one text in one call?",
        "Add one to a list of places that names one place twice: how often is it added there? Try it in a cell.",
        "return torch.bincount(torch.cat([torch.empty(0, dtype=torch.long), *calls]), minlength=texts)",
    ),
    check=check_charged,
)
