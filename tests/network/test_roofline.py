"""Two walls, by the formula and by asking which time is longer."""

import math

import pytest

from dlmlab.network.roofline import Kernel, break_even, crossing, seconds, wins_below

PLAIN, SLOW, FAST, W = Kernel(16, 1e12), Kernel(4, 2e11), Kernel(4, 4e12), 5e10


@pytest.mark.parametrize("kernel", (PLAIN, SLOW, FAST))
def test_at_the_break_even_both_walls_are_as_high(kernel):
    m = break_even(kernel, W)
    assert seconds(0.99 * m, 1e9, kernel, W) == pytest.approx(kernel.bits / 8 * 1e9 / W)
    assert seconds(1.01 * m, 1e9, kernel, W) == pytest.approx(1.01 * 2e9 * m / kernel.operations)
    assert seconds(m, 1e9, kernel, W, overlap=False) == pytest.approx(2 * seconds(m, 1e9, kernel, W))


def test_packed_wins_below_and_nowhere_above():
    m = wins_below(PLAIN, SLOW, W)
    for rows in (0.01 * m, 0.5 * m, 0.99 * m):
        assert seconds(rows, 1, SLOW, W) < seconds(rows, 1, PLAIN, W)
    for rows in (1.01 * m, 3 * m, 1000 * m):
        assert seconds(rows, 1, SLOW, W) > seconds(rows, 1, PLAIN, W)


def test_with_as_many_operations_it_stops_at_the_plain_break_even_and_with_more_never():
    assert wins_below(PLAIN, Kernel(4, 1e12), W) == break_even(PLAIN, W)
    assert math.isinf(wins_below(PLAIN, FAST, W)) and math.isinf(crossing(PLAIN, FAST, W))
    with pytest.raises(ValueError, match="fewer"):
        wins_below(SLOW, PLAIN, W)


def test_the_sums_are_equal_at_their_crossing():
    m = crossing(PLAIN, SLOW, W)
    assert seconds(m, 1, PLAIN, W, overlap=False) == pytest.approx(seconds(m, 1, SLOW, W, overlap=False))


def test_the_walls_of_a_published_card():
    """989 T operations and 3.35 TB a second, by their data sheet."""
    assert break_even(Kernel(16, 989e12), 3.35e12) == pytest.approx(295.2, abs=0.1)
