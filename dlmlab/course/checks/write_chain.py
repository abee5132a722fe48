"""Exercise 17.2. A model that sees what is known and says another state for it; lengths that forwards do not divide."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_write_chain(fn: Callable) -> None:
    """Judge an answer to 17.2."""
    x = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 0, 1]])
    for forwards in (1, 5, 2, 3):
        _judge(fn, x, forwards, 3, f"5 states in {forwards} forwards")
    draw = Cases(172)
    for N, L, G in ((1, 1, 2), (3, 4, 3), (1, 12, 2), (2, 12, 6), (4, 7, 5), (2, 9, 4)):
        for forwards in {1, L, draw.int(1, L), draw.int(1, L)}:
            _judge(fn, draw.ids(G, N, L), forwards, G, f"{L} states in {forwards} forwards, {N} rows")
    for forwards in (0, 6):
        try:
            fn(_Model(3), x, forwards)
        except ValueError:
            continue
        raise AssertionError(f"5 states in {forwards} forwards: this cannot be, raise ValueError")


class _Model:
    """Says states that depend on the operation and on every known state before it, in whole numbers."""

    def __init__(self, G: int):
        self.G, self.shown = G, []

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        require(isinstance(y, Tensor) and y.shape == x.shape, "tell(x, y) takes operations and states, (N, L) both")
        require(len(self.shown) < 50, "the loop does not end")
        self.shown.append(y.tolist())
        said = torch.tensor([_said(*rows, self.G) for rows in zip(x.tolist(), y.tolist(), strict=True)])  # (N, L)
        return torch.nn.functional.one_hot(said, self.G).float() - 2.0


def _said(x: list[int], y: list[int], G: int) -> list[int]:
    return [(x[t] + 2 * t + sum((s + 2) * (i + 1) for i, s in enumerate(y[:t]))) % G for t in range(len(x))]


def _by_hand(x: list[int], forwards: int, G: int) -> tuple[list[int], list[list[int]]]:
    """Write one row; also what stood there before each forward."""
    y, shown = [], []
    for step in range(forwards):
        shown.append(y + [-1] * (len(x) - len(y)))
        stop = len(y) + len(x) // forwards + (step < len(x) % forwards)
        y = y + _said(x, shown[-1], G)[len(y) : stop]
    return y, shown


def _judge(fn: Callable, x: Tensor, forwards: int, G: int, case: str) -> None:
    model = _Model(G)
    with untouched(x=x):
        y = fn(model, x, forwards)
    expect_tensor(y, x.shape, torch.int64)
    rows = [_by_hand(row, forwards, G) for row in x.tolist()]
    n = len(model.shown)
    require(n == forwards, f"{case}: `tell` was called {n} times")
    require(
        -1 not in y.flatten().tolist(), f"{case}: some states are left unknown; L // forwards loses what is left over"
    )
    for step, shown in enumerate(model.shown):
        wanted = [row[1][step] for row in rows]
        unknown = [[s == -1 for s in row] for row in shown]
        some = step and all(s == -1 for row in shown for s in row)
        require(not some, f"{case}: forward {step + 1} is not shown what was written before it")
        require(
            unknown == [[s == -1 for s in row] for row in wanted],
            f"{case}: before forward {step + 1} the known states of row 0 should be {wanted[0]}, got {shown[0]} "
            "(unknown is -1; from the left; the first forwards write one more)",
        )
        require(
            shown == wanted,
            f"{case}: before forward {step + 1} row 0 is {shown[0]}, it should be {wanted[0]}: the most probable state "
            "of the forward that wrote it, and it stays",
        )
    require(
        y.tolist() == [row[0] for row in rows],
        f"{case}: the last forward writes the last states only; what was written stays",
    )


EXERCISE = Exercise(
    id="17.2",
    title="From left to right in n forwards",
    minutes=15,
    difficulty=3,
    objective="Write the loop that makes a recurrent machine of a parallel model, in as many forwards as one likes.",
    path="dlmlab.chain.write_chain",
    stub='''\
def write_chain(tell: Callable[[Tensor, Tensor], Tensor], x: Tensor, forwards: int) -> Tensor:
    """Write the states of operations from left to right in a number of forwards.

    A forward calls `tell(x, y)`, which gives logits (N, L, G), and writes the most probable states at the next places,
    all from that call: L // forwards of them, and one more in each of the first L % forwards. Written states stay;
    a state that is not known yet is -1.
    Shapes: x (N, L) -> y (N, L) int64. Raises ValueError unless 1 <= forwards <= L.
    """
    raise NotImplementedError
''',
    hints=(
        "With one forward nothing is ever read again; with L forwards every state is read before the next one is "
        "written. What has to change between two calls?",
        "Remember how many states are written. In every forward: ask, take the most probable state at each place, and "
        "copy only the next few into the row. The first forwards take one more each, until nothing is left over.",
        "stop = start + L // forwards + (step < L % forwards); y[:, start:stop] = tell(x, y).argmax(-1)[:, start:stop]",
    ),
    check=check_write_chain,
)
