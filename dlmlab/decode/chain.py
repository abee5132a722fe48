"""A chain of states, each made from the one before it: how it is run, and how a parallel decoder writes it.

Decisions
* A machine is a table: entry [x, y] is the state after operation x in state y. It starts in state 0.
* A decoder is a function `tell(x, y)` from operations and known states, (N, L) each, to logits (N, L, G). A state that
  is not known is `UNKNOWN`. So the same loop serves any model, and a mock can be counted.

Source: Liu et al., automata and their shortcuts, arXiv 2210.10749 (the machine as a semigroup); notebook 17.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

UNKNOWN = -1


def track(table: Tensor, x: Tensor) -> Tensor:
    """Run a machine on rows of operations: y[t] = table[x[t], y[t - 1]], from state 0.

    Shapes: table (A, G) int64, x (N, L) int64 below A -> the state after each operation, (N, L) int64.

    >>> track(torch.tensor([[0, 1], [1, 0]]), torch.tensor([[1, 0, 1, 1]])).tolist()  # parity
    [[1, 1, 0, 1]]
    """
    y, found = torch.zeros_like(x[:, 0]), torch.empty_like(x)
    for t in range(x.shape[1]):
        y = table[x[:, t], y]
        found[:, t] = y
    return found


def write_chain(tell: Callable[[Tensor, Tensor], Tensor], x: Tensor, forwards: int) -> Tensor:
    """Write the states of operations from left to right in a number of forwards.

    A forward calls `tell(x, y)`, which gives logits (N, L, G), and writes the most probable states at the next places,
    all from that call: L // forwards of them, and one more in each of the first L % forwards. Written states stay.
    Shapes: x (N, L) -> y (N, L) int64. Raises ValueError unless 1 <= forwards <= L.

    >>> logits = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    >>> write_chain(lambda x, y: logits, torch.tensor([[0, 0]]), 2).tolist()
    [[1, 0]]
    """
    L = x.shape[1]
    if not 1 <= forwards <= L:
        raise ValueError(f"forwards={forwards}: needs 1 to {L}, the number of states")
    y, start = torch.full_like(x, UNKNOWN), 0
    for step in range(forwards):
        stop = start + L // forwards + (step < L % forwards)
        best = tell(x, y).argmax(-1)  # (N, L)
        y = torch.cat([y[:, :start], best[:, start:stop], y[:, stop:]], 1)
        start = stop
    return y


def forwards_needed(right: Sequence[float], length: int, enough: float = 0.95) -> int:
    """Say in how many forwards a chain can be written, if each one writes as far as it sees.

    `right`: share of right states one place ahead of what is known, two places ahead, ..., of one forward. It sees as
    far as all places up to there have `enough` or more; each forward writes as many. Raises ValueError if it does not
    see even one place.

    >>> forwards_needed([1.0, 0.99, 0.6, 0.97], length=12)
    6
    """
    horizon = next((i for i, share in enumerate(right) if share < enough), len(right))
    if not horizon:
        raise ValueError("not even the next state is right often enough: no number of forwards will do")
    return math.ceil(length / horizon)
