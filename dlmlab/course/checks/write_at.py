"""Exercise 8.3. Heads, rows and positions differ in number; positions out of order; every number is its own; then
random stores of all sizes."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, require, untouched
from dlmlab.course.exercises import Exercise


def _numbers(*shape: int, start: int = 0) -> Tensor:
    return torch.arange(start, start + torch.Size(shape).numel(), dtype=torch.float32).view(shape)


def _expected(stored: Tensor, new: Tensor, positions: list[list[int]]) -> Tensor:
    result = stored.clone()
    for b in range(len(stored)):
        for i, position in enumerate(positions[b % len(positions)]):
            result[b, :, position] = new[b, :, i]
    return result


def check_write_at(fn: Callable) -> None:
    """Judge an answer to 8.3."""
    before = _numbers(3, 2, 5, 4)
    new = _numbers(3, 2, 2, 4, start=1000)

    def run(positions: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
        stored, at = before.clone(), torch.tensor(positions)
        with untouched(new=new, positions=at):
            fn(stored, new, at)
        return stored, _expected(before, new, positions), stored != before

    stored, right, changed = run([[0, 1]])
    require(changed.any(), "nothing was replaced: the keys must change in the tensor that is passed, in place")
    require(
        torch.equal(stored[:1], right[:1]), "the first two positions of row 0 should hold the new keys, and no others"
    )
    require(torch.equal(stored, right), "one list of positions, (1, q), holds for all rows")
    stored, right, changed = run([[3, 1]])
    require(
        not changed[:, :, 0].any(), "position 0 was written: the keys belong at `positions`, not at the first places"
    )
    require(
        torch.equal(stored.sum((1, 3)), right.sum((1, 3))) and torch.equal(stored, right),
        "positions out of order: new[:, :, i] belongs at positions[i], do not sort",
    )
    stored, right, changed = run([[3, 1], [0, 4], [2, 3]])
    require(torch.equal(stored[0], right[0]), "row 0 is wrong when rows have positions of their own")
    require(torch.equal(stored, right), "each row has positions of its own; the ones of row 0 were used for all")
    stored, right, changed = run([[3, 1], [4, 4], [2, 3]])
    require(not changed[1, :, :4].any(), "a position that is named twice is one position; the others stay")
    twice = _expected(before, new, [[3, 1], [4, 4], [2, 3]])
    twice[1, :, 4] = stored[1, :, 4]  # either of the two
    require(torch.equal(stored, twice), "a position that is named twice changes nothing for the others")
    either = torch.stack([stored[1, :, 4] == new[1, :, i] for i in range(2)]).any(0)
    require(either.all(), "a position that is named twice holds the keys of one of the two")
    draw = Cases(0)
    for B, H, K, D, q in (
        (1, 1, 1, 1, 1),
        (1, 3, 6, 4, 6),
        (4, 2, 7, 3, 1),
        (3, 3, 3, 3, 2),
        (2, 4, 9, 2, 5),
        (2, 1, 4, 3, 0),
    ):
        for shared in (False, True):
            stored, keys = draw.normal(B, H, K, D), draw.normal(B, H, q, D)
            at = torch.stack([draw.order(K, q) for _ in range(1 if shared else B)])
            right = _expected(stored, keys, at.tolist())
            with untouched(new=keys, positions=at):
                fn(stored, keys, at)
            rows = "the same in all rows" if shared else "of its own in each row"
            expect_same(stored, right, f"{B} rows, {H} heads, {q} of {K} positions, {rows}", tol=0)


EXERCISE = Exercise(
    id="8.3",
    title="Replace keys where they stand",
    minutes=15,
    difficulty=3,
    objective="Update a cache in the middle, where appending does not help.",
    path="dlmlab.kv.write_at",
    stub='''\
def write_at(stored: Tensor, new: Tensor, positions: Tensor) -> None:
    """Replace keys (or values) of some positions in place: stored[b, :, positions[b, i]] becomes new[b, :, i].

    Shapes: stored (B, H, K, D/H), new (B, H, q, D/H), positions (B, q), or (1, q) for all rows. All heads and all
    numbers of a position are replaced. A position may occur twice, with the same keys. Returns nothing.
    """
    raise NotImplementedError
''',
    hints=(
        "What is asked for is a change of the tensor that was passed, not a new one; every row has its own places.",
        "scatter_ writes along one dimension; which one of the four holds positions? The index needs the shape of new.",
        "index = positions[:, None, :, None].expand_as(new), then stored.scatter_(2, index, new).",
    ),
    check=check_write_at,
)
