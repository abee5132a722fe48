"""Lab 17: two machines whose state is to be tracked, and rows of their operations and states.

* `parity`: two states; an operation adds 0 or 1, modulo 2. Operations commute.
* `S3`: six states, the orders of three things; an operation puts them into another order. Operations do not commute.

The state before the first operation is 0, the one that changes nothing, and y[t] = x[t] after y[t - 1].

Rows are (N, L) int64: operations `x` and states `y`, both from 0 to G - 1. As tokens of one vocabulary, an operation is
itself, a state is 6 more, and the mask is 12: `woven` writes x[0] y[0] x[1] y[1] ..., so that a state stands beside its
operation and after the state before it, at every length.
"""

from itertools import combinations, permutations

import torch
from torch import Tensor

STATES, MASK, TOKENS = 6, 12, 13
HIDDEN = MASK - STATES  # what stands for a state that is not known
ORDERS = tuple(permutations(range(3)))  # of S3; the first changes nothing
GROUPS = {"parity": 2, "S3": 6}  # how many states


def after(second: tuple[int, ...], first: tuple[int, ...]) -> tuple[int, ...]:
    """Compose two orders: what `first` does, then `second`.

    >>> after((1, 0, 2), (0, 2, 1))
    (1, 2, 0)
    """
    return tuple(second[i] for i in first)


def products(task: str) -> Tensor:
    """Tabulate the machine: entry [x, y] is the state after operation x in state y, (G, G) int64."""
    if task == "parity":
        return torch.tensor([[0, 1], [1, 0]])
    return torch.tensor([[ORDERS.index(after(x, y)) for y in ORDERS] for x in ORDERS])


def states(task: str, x: Tensor) -> Tensor:
    """Run the machine on operations (N, L): the state after each, (N, L).

    >>> states("parity", torch.tensor([[1, 0, 1, 1]])).tolist()
    [[1, 1, 0, 1]]
    """
    table, y, found = products(task), torch.zeros(len(x), dtype=torch.long), []
    for t in range(x.shape[1]):
        y = table[x[:, t], y]
        found.append(y)
    return torch.stack(found, 1)


def signs(y: Tensor) -> Tensor:
    """Say of states of S3 whether they are an odd number of swaps away from the first, 0 or 1, in the shape of `y`.

    Signs add up like parity, whatever the operations: the sign of a product is the sum of the signs, modulo 2.

    >>> signs(products("S3")[1]).tolist(), signs(torch.arange(6)).tolist()
    ([1, 0, 0, 1, 1, 0], [0, 1, 1, 0, 0, 1])
    """
    return torch.tensor([sum(a > b for a, b in combinations(order, 2)) % 2 for order in ORDERS])[y]


def draw(task: str, samples: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw operations uniformly, and run the machine: x and y, (samples, length) each."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(GROUPS[task], (samples, length), generator=generator)
    return x, states(task, x)


def woven(x: Tensor, y: Tensor) -> Tensor:
    """Write operations and states alternately, as tokens, (N, 2 L); a state may be `HIDDEN`."""
    return torch.stack([x, y + STATES], -1).flatten(1)
