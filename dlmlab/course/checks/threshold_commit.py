"""Exercise 1.4. Small batches, each made for one mistake; then random ones."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_threshold_commit(fn: Callable) -> None:
    """Judge an answer to 1.4."""

    def run(score: list[list[float]], eligible: list[list[int]], tau: float) -> list[list[int]]:
        s, e = torch.tensor(score), torch.tensor(eligible, dtype=torch.bool)
        with untouched(score=s, eligible=e):
            take = fn(s, e, tau)
        expect_tensor(take, s.shape, torch.bool)
        return take.int().tolist()

    everywhere = [[1, 1, 1], [1, 1, 1]]
    take = run([[0.75, 0.5, 0.625], [0.5, 0.125, 1.0]], everywhere, 0.5)
    require(take != [[1, 0, 1], [0, 0, 1]], "a score equal to tau must pass: the rule is >= tau, not > tau")
    require(take == [[1, 1, 1], [1, 0, 1]], f"every score >= tau must be taken, and no other; got {take}")

    take = run([[0.1, 0.3, 0.2], [0.4, 0.1, 0.2]], everywhere, 0.5)
    require(
        any(map(any, take)), "nothing passes and nothing is taken: the loop would not end; take the best of each row"
    )
    require(all(map(any, take)), "the best one is taken per batch, not per row: every row needs its own")
    require(take == [[0, 1, 0], [1, 0, 0]], f"where nothing passes, the one best of each row must be taken; got {take}")
    take = run([[0.1, 0.9, 0.2], [0.4, 0.1, 0.2]], everywhere, 0.5)
    require(
        take == [[0, 1, 0], [1, 0, 0]],
        f"a row where nothing passes needs its best one per row, whatever passes in the rest of the batch; got {take}",
    )

    eligible = [[1, 1, 0, 1], [1, 0, 1, 1], [0, 0, 0, 0]]  # row 2 is finished
    take = run([[0.6, 0.1, 0.9, 0.7], [0.2, 0.9, 0.3, 0.1], [0.9, 0.1, 0.2, 0.3]], eligible, 0.5)
    require(
        not any(t > e for row, free in zip(take, eligible, strict=True) for t, e in zip(row, free, strict=True)),
        "a position that is not eligible was taken: it holds a token already, or lies outside the block",
    )
    take = run([[0.1, 0.2, 0.9, 0.3], [0.2, 0.4, 0.3, 0.1], [0.9, 0.1, 0.2, 0.3]], eligible, 0.5)
    require(
        take == [[0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]],
        f"nothing passes: the best one must be looked for among the eligible positions only; got {take}",
    )
    take = run([[-0.7, -0.4, -0.1, -0.9], [-3.0, -0.1, -2.0, -2.5], [-1.0, -1.0, -1.0, -1.0]], eligible, -0.3)
    require(
        take == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]],
        f"scores may be negative (minus the entropy): positions that are not eligible need -inf, not 0; got {take}",
    )
    take = run([[0.2, 0.3, 0.3], [0.1, 0.1, 0.1]], everywhere, 0.5)
    require(
        take == [[0, 1, 0], [1, 0, 0]],
        f"a tie for the best goes to the lowest index, which is the only one taken; got {take}",
    )
    draw = Cases(0)
    for B, L in ((1, 1), (1, 6), (4, 1), (2, 3), (3, 9), (8, 20)):
        for share in (0.0, 0.3, 0.7, 1.0):
            for levels in (3, 1000):  # many ties, and hardly any
                score = (draw.ids(levels, B, L) - levels // 2) / levels  # some below 0
                eligible, tau = draw.bools(B, L, share=share), float(score.flatten()[draw.int(0, B * L - 1)])
                with untouched(score=score, eligible=eligible):
                    take = fn(score, eligible, tau)
                case = f"{B} rows of {L}, {int(eligible.sum())} eligible, tau {tau:.3f}"
                expect_same(take, _expected(score, eligible, tau), case)


def _expected(score: Tensor, eligible: Tensor, tau: float) -> Tensor:
    take = torch.zeros(score.shape, dtype=torch.bool)
    for b, row in enumerate(score.tolist()):
        best = None
        for i, value in enumerate(row):
            if eligible[b, i]:
                take[b, i] = value >= tau
                best = i if best is None or value > row[best] else best
        if best is not None:
            take[b, best] = True
    return take


EXERCISE = Exercise(
    id="1.4",
    title="Commit what is sure enough",
    minutes=15,
    difficulty=3,
    objective="Decide by a threshold which positions become tokens, and never stall.",
    path="dlmlab.commit.threshold_commit",
    stub='''\
def threshold_commit(score: Tensor, eligible: Tensor, tau: float) -> Tensor:
    """Take every eligible position whose score is at least tau, and in each row always the best eligible one.

    Of equal best scores the lowest index counts as the best. A row without eligible positions takes nothing.
    Shapes: score (B, L), finite, perhaps negative; eligible (B, L) bool -> take (B, L) bool. No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Two conditions joined by or: the score reaches tau; the position is the best of its row. Both need eligible.",
        "Scores may be negative: what is not eligible must rank below every number before you look for the best.",
        "Fill score with -inf where it is not eligible; argmax(-1) is the best of each row; scatter it into a mask.",
    ),
    check=check_threshold_commit,
)
