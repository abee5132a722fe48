"""Exercise 4.1. Matrices with ties, negative scores and shares that do not divide the row."""

from collections.abc import Callable

import torch

from dlmlab.course.checks.expect import expect_tensor, require, seeded, untouched
from dlmlab.course.exercises import Exercise


def check_lowest(fn: Callable) -> None:
    """Judge an answer to 4.1."""

    def run(scores: list[list[float]], sparsity: float) -> list[list[int]]:
        s = torch.tensor(scores)
        with untouched(scores=s):
            removed = fn(s, sparsity)
        expect_tensor(removed, tuple(s.shape), torch.bool)
        return removed.int().tolist()

    removed = run([[4.0, 1, 3, 2], [10, 40, 20, 30]], 0.5)
    require(
        removed != [[1, 0, 1, 0], [0, 1, 0, 1]], "the mask marks what is removed: the lowest scores, not the highest"
    )
    require(
        removed != [[1, 1, 1, 1], [0, 0, 0, 0]], "every row loses its own lowest: select per row, not over the matrix"
    )
    require(removed == [[0, 1, 0, 1], [1, 0, 1, 0]], f"half of each row must go, its lowest scores; got {removed}")
    removed = run([[-4.0, 1, -3, 2]], 0.5)
    require(removed == [[1, 0, 1, 0]], "scores are compared as they are: no absolute value here")
    removed = run([[5.0, 5, 5, 5, 5], [1, 1, 0, 1, 1]], 0.4)
    require(
        list(map(sum, removed)) == [2, 2],
        f"exactly int(C s) = 2 of 5 must go in each row, also when scores tie (no threshold); got {removed}",
    )
    require(removed == [[1, 1, 0, 0, 0], [1, 0, 1, 0, 0]], f"of equal scores the lower index goes; got {removed}")
    removed = run([[3.0, 1, 2, 5, 4]], 0.5)
    require(removed == [[0, 1, 1, 0, 0]], f"int(5 * 0.5) = 2 go: round down; got {removed}")
    require(run([[1.0, 2, 3]], 0.0) == [[0, 0, 0]], "at sparsity 0 nothing goes")
    g = seeded(41)
    for R, C, sparsity in ((1, 1, 0.9), (7, 1, 0.5), (3, 32, 0.25), (16, 33, 0.61)):
        scores = torch.randn(R, C, generator=g)
        order = [sorted(range(C), key=row.__getitem__)[: int(C * sparsity)] for row in scores.tolist()]
        wanted = [[int(c in gone) for c in range(C)] for gone in order]
        require(
            run(scores.tolist(), sparsity) == wanted,
            f"on random scores of shape ({R}, {C}) other weights go than the int({C} * {sparsity}) lowest of each row",
        )
    many = torch.zeros(1, 10)
    for sparsity, n in ((0.3, 3), (0.7, 7)):
        require(
            int(fn(many, sparsity).sum()) == n,
            f"10 columns at sparsity {sparsity} lose {n}: beware of rounding errors such as 10 * 0.7 = 6.999...",
        )
    several = torch.zeros(1, 100)
    require(
        int(fn(several, 0.29).sum()) == 29, "100 * 0.29 is 28.999... in floating point: add a little before rounding"
    )


EXERCISE = Exercise(
    id="4.1",
    title="Remove the lowest of each row",
    minutes=10,
    difficulty=2,
    objective="Select exactly the wanted share of weights, row by row.",
    path="dlmlab.selection.lowest",
    stub='''\
def lowest(scores: Tensor, sparsity: float) -> Tensor:
    """Mark the int(C s) lowest scores of each row for removal; of equal scores the lower index goes.

    The product C s is exact for shares such as 0.29 of 100 (floating point gives 28.999...).
    Shapes: scores (R, C), any sign -> removed (R, C) bool. `scores` is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "A threshold cannot know how many of equal scores to take. What does?",
        "Sorting: the first k places of a stable order of each row. Those are indices; a mask has True at them.",
        "scores.argsort(dim=-1, stable=True)[:, :k], then scatter_ True into a mask; k = int(C * sparsity + 1e-9).",
    ),
    check=check_lowest,
)
