"""Exercise 8.4. Rows with different targets and numbers of candidates; negative rises; an outlier that is no
candidate; then random rows, judged one by one."""

from collections.abc import Callable

import torch

from dlmlab.course.checks.expect import Cases, expect_tensor, require, untouched
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
    draw, judged = Cases(0), 0
    for i in range(120):
        B, n = draw.int(1, 4), draw.int(1, 12)
        rise = draw.normal(B, n) * draw.int(1, 3) + draw.int(-2, 2)
        count = [draw.int(0 if i % 3 else n, n) for _ in range(B)]  # zero, some or all
        candidate = [[int(c < count[b]) for c in range(n)] for b in range(B)]
        target = [draw.int(1, 4) for _ in range(B)]
        low, high = (_one_by_one(rise.tolist(), count, target, margin) for margin in (-1e-4, 1e-4))
        if low != high:
            continue  # a rise that ties with the limit: rounding would decide
        judged += 1
        keep = run(rise.tolist(), candidate, target)
        require(
            keep == low,
            f"random rises {[[round(v, 2) for v in row] for row in rise.tolist()]} with {count} candidates and "
            f"targets {target} keep {low}, got {keep}; the spread divides by the number of candidates, not by one less",
        )
    require(judged > 60, "too few random cases were judged")


def _one_by_one(rise: list, count: list[int], target: list[int], margin: float) -> list[list[int]]:
    result = []
    for row, n, wanted in zip(rise, count, target, strict=True):
        mean = sum(row[:n]) / max(n, 1)
        spread = (sum((v - mean) ** 2 for v in row[:n]) / max(n, 1)) ** 0.5
        chosen = [c for c in range(n) if row[c] >= mean + spread + margin]
        if len(chosen) < wanted:
            chosen = sorted(range(n), key=lambda c, row=row: -row[c])[:wanted]
        kept = {*chosen, *(c - 1 for c in chosen if c > 0)}
        result.append([int(c in kept) for c in range(len(row))])
    return result


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
        "Three steps: the steepest by rank; all that stand out; which counts for this row? Then neighbours.",
        "Ranks are an argsort of an argsort. What is no candidate ranks last and counts neither in mean nor in spread.",
        "torch.where(steep.sum(1, keepdim=True) >= target[:, None], steep, rank < target[:, None]); shift keep by one.",
    ),
    check=check_choose,
)
