"""Exercise 8.4. Rows with different targets and numbers of candidates; negative rises; an outlier that is no
candidate."""

from collections.abc import Callable

import torch

from dlmlab.course.checks.expect import expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_choose(fn: Callable) -> None:
    """Judge an answer to 8.4."""

    def run(rise: list[list[float]], candidate: list[list[int]], target: list[int]) -> list[list[int]]:
        r, c, t = torch.tensor(rise), torch.tensor(candidate, dtype=torch.bool), torch.tensor(target)
        with untouched(rise=r, candidate=c, target=t):
            keep = fn(r, c, t)
        expect_tensor(keep, r.shape, torch.bool)
        return keep.int().tolist()

    keep = run([[9.0, 0.5, 1.0, 0.0, 0.2, 0.1]], [[1, 1, 1, 1, 1, 1]], [1])
    require(keep[0][0], "the steepest rise must stay, whatever else does")
    require(
        keep == [[1, 0, 0, 0, 0, 0]], f"a target of 1 keeps the steepest; the first has no left neighbour; got {keep}"
    )
    keep = run([[0.1, 0.3, 5.0, 0.2, 0.2, 0.1]], [[1, 1, 1, 1, 1, 1]], [1])
    require(keep != [[0, 0, 1, 1, 0, 0]], "it is the left neighbour of a kept one that stays too, not the right one")
    require(keep == [[0, 1, 1, 0, 0, 0]], f"the steepest and its left neighbour stay; got {keep}")
    keep = run([[-5.0, -2.0, -4.0, -1.0, 9.0, 9.0]], [[1, 1, 1, 1, 0, 0]], [1])
    require(not (keep[0][4] or keep[0][5]), "what is not a candidate never stays, however steep; fill it with -inf")
    require(
        keep == [[0, 0, 1, 1, 0, 0]],
        f"rises may be negative, and only candidates count for mean and spread; got {keep}",
    )
    keep = run([[0.0, 0.0, 0.0, 8.0, 0.0, 7.0, 0.0, 0.0, 0.0, 9.0]], [[1] * 10], [2])
    require(
        keep == [[0, 0, 1, 1, 1, 1, 0, 0, 1, 1]],
        f"three rise a standard deviation above the mean, and the target is two: all three stay; got {keep}",
    )
    rise, candidate = [[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]], [[1, 1, 1, 1], [1, 1, 1, 1]]
    keep = run(rise, candidate, [1, 3])
    require(keep == [[0, 0, 1, 1], [1, 1, 1, 0]], f"each row has a target of its own; got {keep}")
    keep = run([[0.5, 0.5, 0.5, 0.5]], [[1, 1, 0, 0]], [4])
    require(
        keep == [[1, 1, 0, 0]], f"with fewer candidates than the target all candidates stay, and no others; got {keep}"
    )


EXERCISE = Exercise(
    id="8.4",
    title="Choose who travels on",
    minutes=20,
    difficulty=4,
    objective="Drop tokens inside the network by what two layers already know.",
    path="dlmlab.focus.choose",
    stub='''\
def choose(rise: Tensor, candidate: Tensor, target: Tensor) -> Tensor:
    """Choose the candidates that stay: the `target` with the steepest rise, or, if these are at least as many, all
    that rise by a standard deviation (over the candidates, dividing by their number) more than the mean; and of each
    kept one the left neighbour, if it is a candidate.

    Shapes: rise (B, n), candidate (B, n) bool, the candidates first in each row, target (B,) -> (B, n) bool.
    """
    raise NotImplementedError
''',
    hints=(
        "Two masks and a torch.where per row: rank < target, and rise >= mean + spread. Ranks: argsort of an argsort.",
        "Mean and spread: multiply by candidate, divide by the number of candidates. Neighbours: shift keep by one.",
    ),
    check=check_choose,
)
