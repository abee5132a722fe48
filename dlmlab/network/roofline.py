"""What one matrix costs a machine: bytes that travel, operations that are made, and the rows at which the two take as
long.

    bytes        b K N / 8         b bits a weight, whatever the number of rows
    operations   2 m K N           m rows
    seconds      max(2 m K N / P,  b K N / 8 W)
    break-even   m* = b P / 16 W   below it the bytes decide, above it the operations

Decisions
* P is operations a second, a multiply-add counts two; W is bytes a second. Both are what a machine *reaches*: data
  sheets promise more.
* Rows are all that a way to decode changes: one for each token that enters a forward, times the texts of a batch.
* Activations are not counted: with few rows they are few bytes, and with many they are no longer what decides.
* The maximum assumes that reading and calculating go on at the same time. A kernel that does one after the other takes
  the sum (`overlap=False`): at most twice as long, and the truth lies between.

Source: Williams et al., Roofline, Communications of the ACM 52(4), 2009.
"""

import math
from typing import NamedTuple


class Kernel(NamedTuple):
    """How a matrix is held and multiplied: `bits` a weight with its scales, `operations` a second at best."""

    bits: float
    operations: float


def seconds(rows: float, weights: float, kernel: Kernel, bandwidth: float, *, overlap: bool = True) -> float:
    """Give the least time for `rows` rows through `weights` weights, at `bandwidth` bytes a second.

    >>> seconds(1, 1e9, Kernel(16, 1e12), 1e11), seconds(100, 1e9, Kernel(16, 1e12), 1e11)
    (0.02, 0.2)
    """
    work, traffic = 2 * rows * weights / kernel.operations, kernel.bits / 8 * weights / bandwidth
    return max(work, traffic) if overlap else work + traffic


def break_even(kernel: Kernel, bandwidth: float) -> float:
    """Give the rows m* at which operations take as long as bytes.

    >>> round(break_even(Kernel(16, 989e12), 3.35e12), 1), round(break_even(Kernel(4.125, 989e12), 3.35e12), 1)
    (295.2, 76.1)
    """
    return kernel.bits * kernel.operations / (16 * bandwidth)


def wins_below(plain: Kernel, packed: Kernel, bandwidth: float) -> float:
    """Give the number of rows below which `packed` takes less time than `plain`, by the maximum, `math.inf` if it
    does for however many. Never 0: with few enough rows both wait for bytes.

    `packed` has fewer bits (`ValueError` otherwise). With fewer operations a second it loses where its operations take
    as long as the bytes of `plain`; with as many, where `plain` has stopped waiting for bytes, too; with more it never
    loses. Source: notebook 18, exercise 18.1.

    >>> wins_below(Kernel(16, 1e12), Kernel(4, 5e11), 5e10)
    10.0
    """
    (bits, best), (fewer, reached) = plain, packed
    if fewer >= bits:
        raise ValueError(f"packed has {fewer} bits, plain {bits}: packed needs fewer")
    return math.inf if reached > best else bits * reached / (16 * bandwidth)


def crossing(plain: Kernel, packed: Kernel, bandwidth: float) -> float:
    """The same where nothing overlaps: rows at which the two sums are equal, `math.inf` where the work is no more.

    >>> round(crossing(Kernel(16, 1e12), Kernel(4, 5e11), 5e10), 9)
    15.0
    """
    more = 1 / packed.operations - 1 / plain.operations
    return (plain.bits - packed.bits) / (16 * bandwidth * more) if more > 0 else math.inf
