"""Exercise 10.3. Find the error of a certificate: answers that are optimal, only tidy, or no distribution at all."""

from collections.abc import Callable
from numbers import Real

import torch

from dlmlab.course.checks.expect import NOTHING, Cases, close, require, untouched
from dlmlab.course.exercises import Exercise


def check_exchange_gain(fn: Callable) -> None:
    """Judge an answer to 10.3."""

    def run(q: list[float], slope: list[float]) -> float:
        a, b = torch.tensor(q, dtype=torch.float64), torch.tensor(slope, dtype=torch.float64)
        with untouched(q=a, slope=b):
            gain = fn(a, b)
        require(gain is not None, NOTHING)
        require(isinstance(gain, Real), f"the result is a {type(gain).__name__}, it should be a number")
        return float(gain)

    gain = run([1, 0, 0], [1, 3, 2])
    require(
        not close(gain, 0), "everything stands on one token and another one gains more: who has nothing can be given to"
    )
    require(close(gain, 2), f"moving from the first token (slope 1) to the second (slope 3) gains 2, not {gain:.2f}")
    gain = run([0.5, 0.5, 0], [2, 2, 1])
    require(not close(gain, 1), "taken from a token that has nothing: nobody can move probability that is not there")
    require(
        close(gain, 0), f"two tokens with one slope, a third with a smaller one: optimal, the gain is 0, not {gain:.2f}"
    )
    gain = run([0.9, 0.1, 0], [3, 1, 2])
    require(not close(gain, 0.2), "the mean slope is not what a move gives up: it takes where it hurts least")
    require(close(gain, 2), f"moving from the second token (slope 1) to the first (slope 3) gains 2, not {gain:.2f}")
    gain = run([0.5, 0.5], [2, -1])
    require(close(gain, 3), f"slopes may be negative: from -1 to 2 is a gain of 3, not {gain:.2f}")
    try:
        gain = run([0.5977, 0.2199, 0.1334, 0.0492], [1, 1, 1, 1])
    except ValueError:
        raise AssertionError("a table that is rounded to four digits is still a distribution") from None
    require(close(gain, 0), f"all slopes alike: the gain is 0, not {gain:.2f}")
    draw = Cases(103)
    for V in (1, 2, 3, 8, 30):
        for _ in range(6):
            q = draw.distribution(V) * draw.bools(V, share=0.6)
            q[draw.int(0, V - 1)] += 0.1
            q = q / q.sum()
            slope = 3 * draw.normal(V, dtype=torch.float64)
            gain = run(q.tolist(), slope.tolist())
            least = min(s for s, share in zip(slope.tolist(), q.tolist(), strict=True) if share > 0)
            right = max(slope.tolist()) - least
            require(
                close(gain, right, 1e-5),
                f"random shares of {V} tokens: the gain is {gain:.3f}, it should be {right:.3f}",
            )
    for q in ([0.67, 0.24, 0.09, 0.01], [0.6, 0.3], [1.2, -0.2]):
        try:
            gain = fn(torch.tensor(q), torch.zeros(len(q)))
        except ValueError:
            continue
        raise AssertionError(f"{q} is no distribution, its sum or an entry is wrong: that is a ValueError")


EXERCISE = Exercise(
    id="10.3",
    title="A certificate that signs too much: find the bug",
    minutes=10,
    difficulty=3,
    objective="Tell an optimal answer from one that only looks tidy, without solving the problem.",
    path="dlmlab.simplex.exchange_gain",
    kind="find the bug",
    stub='''\
def exchange_gain(q: Tensor, slope: Tensor) -> float:
    """Say how fast the value rises if probability moves from one token to another, in the best case.

    `slope` (V,): by how much the value rises for each unit of probability on a token. 0 means that q (V,) is optimal.
    Raises ValueError for a q that is no distribution, up to 1e-3, as tables are rounded.
    """
    if bool((q < 0).any()) or abs(float(q.sum()) - 1) > 1e-3:
        raise ValueError("no distribution")
    used = slope[q > 0]  # the condition of Lagrange: all of them alike
    return float(used.max() - used.min())
''',
    hints=(
        "Hand it the worst answer that you can think of. What does it say to all probability on the worst token?",
        "A move takes from one token and gives to another. Which tokens can give, and which can receive?",
        "return float(slope.max() - slope[q > 0].min())",
    ),
    check=check_exchange_gain,
)
