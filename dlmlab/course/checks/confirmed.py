"""Exercise 8.7. Guesses wrong in the position only, in the token only, once or twice, at the start and at the end; rows
of one batch that are right to different depths; no guess at all; then random rows."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_confirmed(fn: Callable) -> None:
    """Judge an answer to 8.7."""
    truth = torch.tensor([[3, 70], [4, 80], [5, 90], [6, 60]])  # what the rule commits at each of four states

    def count(*changes: tuple[int, int]) -> int:
        guess = truth[:-1].clone()
        for j, part in changes:
            guess[j, part] += 20
        return int(_run(fn, guess[None], truth[None])[0])

    found = count()
    require(found != 3, "all three guesses are right, and the rule's own commit at the last state counts as well: 4")
    require(found == 4, f"all three guesses are right: four commits of the rule are known, not {found}")
    found = count((0, 0), (0, 1))
    require(
        found != 0, "no guess is right, but the first state is the true one: what the rule commits there always counts"
    )
    require(
        found == 1,
        "the first guess is wrong, the others look right: they were read in a text that the rule never had",
    )
    require(count((1, 0)) == 2, "the second guess has the right token at another position: that is another text")
    require(count((1, 1)) == 2, "the second guess has the right position and another token: that is another text")
    require(count((2, 0)) == 3, "the last guess alone is wrong: three commits of the rule are known")
    both = truth.expand(2, -1, -1)
    guess = both[:, :-1].clone()
    guess[0, 0] += 1
    require(_run(fn, guess, both).tolist() == [1, 4], "each row has a count of its own: [1, 4] for these two")
    none = _run(fn, truth[None, :0], truth[None, :1])
    require(none.tolist() == [1], "without a guess one state was read, and its commit counts: [1]")
    draw = Cases(0)
    for R, n in ((1, 2), (5, 1), (4, 3), (7, 6), (64, 9)):
        ruled = draw.ids(50, R, n, 2)
        drafted = ruled[:, :-1].clone()
        drafted[draw.bools(R, n - 1, 2, share=0.15)] += 1
        right = []
        for guesses, rule in zip(drafted.tolist(), ruled.tolist(), strict=True):
            wrong = [j for j in range(n - 1) if guesses[j] != rule[j]]
            right.append(min([*wrong, n - 1]) + 1)
        expect_same(_run(fn, drafted, ruled), torch.tensor(right), f"{R} rows, {n} states")


def _run(fn: Callable, drafted: Tensor, ruled: Tensor) -> Tensor:
    with untouched(drafted=drafted, ruled=ruled):
        got = fn(drafted, ruled)
    expect_tensor(got, (len(ruled),), torch.int64)
    return got


EXERCISE = Exercise(
    id="8.7",
    title="Which guesses count?",
    minutes=10,
    difficulty=2,
    objective="Accept guesses so that the text is the one without them.",
    path="dlmlab.speculation.confirmed",
    stub='''\
def confirmed(drafted: Tensor, ruled: Tensor) -> Tensor:
    """Count how many of `ruled` are commits of the base rule, (R,): 1 to n.

    A forward read n states of each row. State j + 1 is state j with the guess `drafted[:, j]` (position, token), and
    the rule commits `ruled[:, j]` at state j. The first state is the true one. Shapes: drafted (R, n - 1, 2), ruled
    (R, n, 2), whole numbers.
    """
    raise NotImplementedError
''',
    hints=(
        "Which state is certainly one that the rule reaches? When is the next one, given that this one is?",
        "A guess is right if position and token are the rule's. What was read after a wrong one is void.",
        "same = (drafted == ruled[:, :-1]).all(-1); then 1 + same.int().cumprod(1).sum(1).",
    ),
    check=check_confirmed,
)
