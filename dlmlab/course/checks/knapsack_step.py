"""Exercise 6.2. Tables that are flat, that fall, that begin with inf; options that cost nothing, all, or too much."""

from collections.abc import Callable

import torch

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise

INF = float("inf")
Lists = list[float]


def check_knapsack_step(fn: Callable) -> None:
    """Judge an answer to 6.2."""
    new, _ = _run(fn, [8.0, 4, 2, 1, 0], [1.0], [1])
    require(
        new != [INF] * 5,
        "one place takes one option once: read from `best`, the places before, not from what was just written",
    )
    new, chosen = _run(fn, [0.0, 0, 0, 0], [2.0, 5], [1, 1])
    require(new[3] != 5, "of two options that fit the one with *less* loss is taken: a minimum, not a maximum")
    require(new != [0.0, 0, 0, 0], "every place needs one of its options: leaving the place out is none of them")
    require(new[1:] != [0.0, 0, 0], "an option has a loss of its own: nats[o] is added to that of the places before")
    require(new[1] == 2, "an option of size 1 fits when 1 unit is left: sizes[o] <= b, not <")
    require(new[0] == INF and chosen[0] == -1, "where no option fits, the loss is inf and the option is -1")
    new, chosen = _run(fn, [0.0, 0, 0, 0], [0.0, 5], [3, 1])
    require(
        (new, chosen) == ([INF, 5, 5, 0], [-1, 1, 1, 0]),
        f"each number of units has its own best option: sizes 3 and 1, losses 0 and 5 give [inf, 5, 5, 0], got {new}",
    )
    new, chosen = _run(fn, [9.0, 4, 1, 0], [0.0, 2], [2, 1])
    require(
        new != [INF, 2, 0, 0] and new != [INF, 2, 2, 2],
        "the places before have a loss, too: best[b - sizes[o]] is added to that of the option",
    )
    require(
        (new, chosen) == ([INF, 11, 6, 3], [-1, 1, 1, 1]),
        f"an option takes its units away from the places before, which then lose more: [inf, 11, 6, 3], got {new}",
    )
    new, chosen = _run(fn, [4.0, 4, 4], [1.0, 1, 1], [1, 0, 0])
    require(chosen[1:] == [0, 0], f"of equal losses the first option is taken; got {chosen}")
    draw = Cases(62)
    for _ in range(60):
        units, count = draw.int(0, 12), draw.int(1, 5)
        steps = draw.uniform(units + 1, dtype=torch.float64).tolist()
        best = [sum(steps[b:]) for b in range(units + 1)]  # falls with b
        start = draw.int(0, units // 2)
        best[:start] = [INF] * start
        nats = draw.uniform(count, dtype=torch.float64).tolist()
        sizes = draw.ids(units + 3, count).tolist()
        new, chosen = _run(fn, best, nats, sizes)
        right = [_best(best, nats, sizes, b) for b in range(units + 1)]
        case = f"{count} options and {units} units"
        require(close(new, [loss for loss, _ in right]), f"random inputs, {case}: the losses are not the least ones")
        require(chosen == [o for _, o in right], f"random inputs, {case}: the options are not those of the losses")


def _best(best: Lists, nats: Lists, sizes: list[int], b: int) -> tuple[float, int]:
    """Try every option for b units."""
    found = INF, -1
    for o, (loss, size) in enumerate(zip(nats, sizes, strict=True)):
        if size <= b and best[b - size] + loss < found[0]:
            found = best[b - size] + loss, o
    return found


def _run(fn: Callable, best: Lists, nats: Lists, sizes: list[int]) -> tuple[Lists, list[int]]:
    table = torch.tensor(best, dtype=torch.float64).numpy()
    out = fn(table, list(nats), list(sizes))
    require(out is not None, NOTHING)
    require(isinstance(out, tuple) and len(out) == 2, "the result is a pair: the new table and the options")
    require(table.tolist() == best, "`best` was changed in place: the caller still needs it, use a copy")
    for name, values in zip(("new table", "options"), out, strict=True):
        shape = tuple(getattr(values, "shape", ()))
        require(shape == (len(best),), f"the {name} have shape {shape}, as an array ({len(best)},) is wanted")
    return out[0].tolist(), [int(o) for o in out[1].tolist()]


EXERCISE = Exercise(
    id="6.2",
    title="One step of the knapsack",
    minutes=20,
    difficulty=3,
    objective="Choose an option for every block, exactly, without trying all combinations.",
    path="dlmlab.search.knapsack_step",
    stub='''\
def knapsack_step(best: np.ndarray, nats: Sequence[float], sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Add one place to the table of the dynamic program.

        new[b] = min over options o with sizes[o] <= b of  best[b - sizes[o]] + nats[o]

    `best` (B + 1,): least loss of the places so far with at most b units, inf where none fits. `sizes`: whole units,
    0 and more than B included. Returns `new` (B + 1,) and the option that gives it, (B + 1,), -1 where none fits; of
    equal losses the first option. `best` is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Suppose this block takes option o, and b units may be spent in all. How many are left for the blocks before?",
        "Two loops do it: over the units, and inside over the options that fit. Begin every entry at infinity and at "
        "no option, and replace it only by something strictly smaller.",
        "new[b], chosen[b] = best[b - size] + loss, o   whenever size <= b and best[b - size] + loss < new[b]",
    ),
    check=check_knapsack_step,
)
