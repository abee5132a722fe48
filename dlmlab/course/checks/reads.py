"""Exercise 16.3. Masks of several lengths, steps, windows and beginnings, each compared with its three rules."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require
from dlmlab.course.exercises import Exercise


def check_reads(fn: Callable) -> None:
    """Judge an answer to 16.3."""

    def run(L: int, every: int, window: int, first: int) -> Tensor:
        mask = fn(L, every, window, first)
        expect_tensor(mask, (L, L), torch.bool)
        return mask

    mask, right = run(12, 4, 1, 0), _mask(12, 4, 1, 0)
    i, j = torch.arange(12)[:, None], torch.arange(12)
    require(not bool((mask & (j > i)).any()), "a query reads no key that comes after it: the model is causal")
    require(bool(mask.diagonal().all()), "a query always reads its own key")
    off = (j <= i) & ((j % 4 == 0) | (i - j <= 1))
    require(
        not torch.equal(mask, off),
        "off by one: of a run of 4, the *last* key has seen all of it; it is key 3, and (3 + 1) is a multiple of 4",
    )
    require(
        not torch.equal(mask, (j <= i) & (((i - j) % 4 == 0) | (i - j <= 1))),
        "the keys are the same for all queries: count from the start of the text, or no key can ever be dropped",
    )
    require(
        not torch.equal(mask, (j <= i) & (((j + 1) % 4 == 0) | (i - j < 1))),
        "a window of 1 holds the query's own key and one before it",
    )
    require(
        not torch.equal(mask, (j <= i) & (((j + 1) % 4 == 0) & (i - j <= 1) | (i == j))),
        "one rule is enough: a key is read because of the step, *or* the window, or the beginning",
    )
    expect_same(mask, right, "L = 12, every 4th, a window of 1")
    mask = run(9, 5, 0, 2)
    require(
        not torch.equal(mask, _mask(9, 5, 0, 3)) and not torch.equal(mask, _mask(9, 5, 0, 0)),
        "first = 2 adds the keys 0 and 1 for every query, and no more",
    )
    expect_same(mask, _mask(9, 5, 0, 2), "L = 9, every 5th, the first two")
    draw = Cases(163)
    cases = [(1, 1, 0, 0), (1, 3, 0, 0), (6, 1, 0, 0), (7, 7, 0, 0), (8, 20, 0, 0), (10, 4, 9, 0), (5, 2, 0, 5)]
    cases += [(draw.int(2, 20), draw.int(1, 6), draw.int(0, 4), draw.int(0, 3)) for _ in range(12)]
    for case in cases:
        expect_same(run(*case), _mask(*case), "L = {}, every = {}, window = {}, first = {}".format(*case))
    try:
        fn(4, 0, 0, 0)
    except ValueError:
        return
    except ZeroDivisionError:
        pass
    raise AssertionError("every = 0 is no step: raise ValueError")


def _mask(L: int, every: int, window: int, first: int) -> Tensor:
    return torch.tensor(
        [[j <= i and ((j + 1) % every == 0 or i - j <= window or j < first) for j in range(L)] for i in range(L)]
    )


EXERCISE = Exercise(
    id="16.3",
    title="The mask of RAT+",
    minutes=10,
    difficulty=2,
    objective="Write the mask of dilated attention without being off by one.",
    path="dlmlab.dilated.reads",
    stub='''\
def reads(L: int, every: int, window: int = 0, first: int = 0) -> Tensor:
    """Say which keys each query may read, (L, L) bool, queries down, keys across, both counted from 0.

    Key j <= i may be read if it is the last of a finished run of `every` keys (runs are counted from the start of the
    text), or lies at most `window` places before the query (its own key lies 0 before it), or is one of the `first`
    keys of the text. Raises ValueError for `every` below 1.
    """
    raise NotImplementedError
''',
    hints=(
        "Keys remember what came before them. Which key of the run 0, 1, 2, 3 has seen all four, and what has its "
        "number in common with 7 and 11?",
        "Make a column of query numbers and a row of key numbers and let them broadcast. Three conditions joined by "
        "or, and all of them only where the key does not come after the query.",
        "i, j = torch.arange(L)[:, None], torch.arange(L); (j <= i) & (((j + 1) % every == 0) | (i - j <= window) | "
        "(j < first))",
    ),
    check=check_reads,
)
