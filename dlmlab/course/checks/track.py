"""Exercise 17.1. Machines that commute and that do not, one that changes state 0 at once, and random ones."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_track(fn: Callable) -> None:
    """Judge an answer to 17.1."""

    def run(table: list[list[int]], x: list[list[int]]) -> list[list[int]]:
        machine, rows = torch.tensor(table), torch.tensor(x)
        with untouched(table=machine, x=rows):
            y = fn(machine, rows)
        expect_tensor(y, rows.shape, torch.int64)
        return y.tolist()

    parity = run([[0, 1], [1, 0]], [[1, 0, 1, 1]])
    require(parity != [[0, 1, 1, 0]], "y[t] is the state *after* operation t, not before it")
    require(parity != [[1, 0, 1, 1]], "these are the operations, or what each does to state 0: carry the state on")
    require(parity != [[1, 0, 0, 1]], "the machine runs from left to right")
    require(parity == [[1, 1, 0, 1]], f"parity of 1 0 1 1 is 1 1 0 1, not {parity[0]}")
    reset = run([[1, 0, 2], [2, 2, 0], [0, 1, 1]], [[0, 1, 0]])
    require(reset != [[0, 2, 2]], "the first operation changes state 0, too: the machine starts before it")
    require(reset != [[1, 2, 0]], "the entry is [operation, state], in this order")
    require(reset == [[1, 2, 2]], f"operations 0 1 0 give 1 2 2, not {reset[0]}")
    two = run([[1, 2, 0], [0, 1, 2]], [[0, 0], [1, 0], [0, 0]])
    require(two == [[1, 2], [0, 1], [1, 2]], f"each row starts in state 0 and knows no other row; got {two}")
    draw = Cases(171)
    for N, L, A, G in ((1, 1, 1, 1), (1, 5, 2, 3), (4, 1, 3, 2), (3, 7, 4, 4), (5, 9, 6, 6), (2, 13, 3, 7)):
        table, x = draw.ids(G, A, G), draw.ids(A, N, L)
        expect_same(fn(table.clone(), x.clone()), _by_hand(table, x), f"{N} rows of {L}, table ({A}, {G})")


def _by_hand(table: Tensor, x: Tensor) -> Tensor:
    machine, found = table.tolist(), []
    for row in x.tolist():
        y, states = 0, []
        for operation in row:
            y = machine[operation][y]
            states.append(y)
        found.append(states)
    return torch.tensor(found)


EXERCISE = Exercise(
    id="17.1",
    title="Run the machine",
    minutes=8,
    difficulty=2,
    objective="Say what state tracking is: one update, carried on.",
    path="dlmlab.chain.track",
    stub='''\
def track(table: Tensor, x: Tensor) -> Tensor:
    """Run a machine on rows of operations: y[t] = table[x[t], y[t - 1]], from state 0.

    Shapes: table (A, G) int64, x (N, L) int64 below A -> the state after each operation, (N, L) int64.
    """
    raise NotImplementedError
''',
    hints=(
        "Which single number of a row do you have to remember from one operation to the next?",
        "Keep the present state of all rows in one tensor. Go through the places; look all rows up in the table at "
        "once, with two index tensors; keep what you found.",
        "y = torch.zeros_like(x[:, 0]); for t in range(x.shape[1]): y = table[x[:, t], y]; found.append(y)",
    ),
    check=check_track,
)
