"""Exercise 18.1. Pairs of kernels of every kind, compared with the two times themselves just below and above."""

import math
from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise

PLAIN, SLOW, W = (16.0, 1e12), (4.0, 4e11), 5e10


def check_wins_below(fn: Callable) -> None:
    """Judge an answer to 18.1."""

    def run(plain: tuple, packed: tuple, bandwidth: float) -> float:
        value = fn(plain, packed, bandwidth)
        require(value is not None, NOTHING)
        return float(value)

    got = run(PLAIN, SLOW, W)
    mistakes = {
        2.0: "at 2 rows the packed kernel stops waiting for *its own* bytes; it still wins, as the plain one still "
        "waits for its bytes: compare with the bytes of plain",
        20.0: "at 20 rows the plain kernel stops waiting; the packed one, which calculates more slowly, fell behind "
        "before that: whose operations take as long as whose bytes?",
        64.0: "bits are not bytes: eight of them are one",
        16.0: "a multiply-add is two operations",
        10.0: "that is where the sums are equal; the times here are maxima",
        math.inf: "fewer bits do not win for ever: this kernel makes fewer operations a second",
    }
    for wrong, message in mistakes.items():
        require(not close(got, wrong, 1e-6), message)
    require(close(got, 8.0, 1e-6), f"(16, 1e12) against (4, 4e11) at 5e10 bytes a second: {got:.4g}, it should be 8")
    require(
        close(run(PLAIN, SLOW, 2 * W), 4.0, 1e-6), "twice the bandwidth: bytes count half as much, so half as many rows"
    )
    same = run(PLAIN, (4.0, 1e12), W)
    require(not math.isinf(same), "as many operations a second: once both wait for operations, neither is faster")
    require(
        math.isinf(run(PLAIN, (4.0, 2e12), W)),
        "a packed kernel with *more* operations a second (4-bit products, where a machine has them) never loses: "
        "math.inf",
    )
    for bits in (16.0, 20.0):
        try:
            fn(PLAIN, (bits, 4e11), W)
        except ValueError:
            continue
        raise AssertionError("as many bits or more save nothing: raise ValueError")
    draw = Cases(181)
    for i in range(14):
        bits = draw.int(9, 32) / 2
        plain, bandwidth = (bits, 1e9 * draw.int(1, 1000)), 1e9 * draw.int(1, 100)
        share = (0.01, 0.5, 1.0, 1.5)[i % 4] if i else 1.0
        packed = (bits * draw.int(1, 9) / 10, share * plain[1])
        right = math.inf if share > 1 else plain[0] * packed[1] / (16 * bandwidth)
        got = run(plain, packed, bandwidth)
        require(
            got == right if math.isinf(right) else close(got, right, 1e-6),
            f"plain {plain}, packed {packed}, {bandwidth:.3g} bytes a second: {got:.4g}, it should be {right:.4g} "
            "(a number of rows need not be whole)",
        )


EXERCISE = Exercise(
    id="18.1",
    title="Until which row?",
    minutes=12,
    difficulty=2,
    objective="Say from two numbers of a kernel and one of a machine until which row fewer bits are faster.",
    path="dlmlab.roofline.wins_below",
    stub='''\
def wins_below(plain: tuple, packed: tuple, bandwidth: float) -> float:
    """Give the number of rows below which `packed` takes less time than `plain`; math.inf if it does for any number.

    Each is (bits a weight, operations a second at best). A matrix of n weights and m rows takes the longer of two
    times: that of 2 m n operations, and that of its bytes at `bandwidth` bytes a second. Raises ValueError unless
    packed has fewer bits.
    """
    raise NotImplementedError
''',
    hints=(
        "Draw both times against the number of rows: a flat line that becomes a slope. Which of the four pieces meet, "
        "when the packed kernel calculates more slowly?",
        "The flat part of plain is met by the slope of packed, unless the slope of packed is the lower one of the two: "
        "then they never meet. Eight bits are a byte, and n drops out.",
        "math.inf if packed[1] > plain[1] else plain[0] * packed[1] / (16 * bandwidth), after the check of the bits",
    ),
    check=check_wins_below,
)
