"""Answers to exercise 15.2."""

from bisect import bisect_left, bisect_right
from itertools import accumulate


def _value(code, low, high, table):
    return ((code - low + 1) * sum(table) - 1) // (high - low + 1)


def ends_one_too_early(code, low, high, table):
    value = (code - low) * sum(table) // (high - low)
    return min(bisect_right(list(accumulate(table)), value), len(table) - 1)


def rounds_down(code, low, high, table):
    value = (code - low) * sum(table) // (high - low + 1)
    return bisect_right(list(accumulate(table)), value)


def forgets_low(code, low, high, table):
    value = ((code + 1) * sum(table) - 1) // (high - low + 1)
    return min(bisect_right(list(accumulate(table)), value), len(table) - 1)


def stops_at_zeros(code, low, high, table):
    return bisect_left(list(accumulate(table)), _value(code, low, high, table))


def one_after(code, low, high, table):
    return min(bisect_right([0, *accumulate(table)], _value(code, low, high, table)), len(table) - 1)


def in_floats(code, low, high, table):
    total, seen = sum(table), 0
    for v, size in enumerate(table):
        seen += size
        if (code - low) / (high - low + 1) < seen / total:
            return v
    return len(table) - 1


def a_power_of_two(code, low, high, table):
    value = ((code - low + 1) * 2 ** (sum(table) - 1).bit_length() - 1) // (high - low + 1)
    return min(bisect_right(list(accumulate(table)), value), len(table) - 1)


def returns_the_sum_before(code, low, high, table):
    sums = [0, *accumulate(table)]
    return sums[bisect_right(sums[1:], _value(code, low, high, table))]


def returns_a_float(code, low, high, table):
    return float(bisect_right(list(accumulate(table)), _value(code, low, high, table)))


def the_most_probable(code, low, high, table):
    return table.index(max(table))


MUTANTS = {
    ends_one_too_early: "is symbol",
    rounds_down: "begins at the floor",
    forgets_low: "begins at `low`",
    stops_at_zeros: "is symbol",
    one_after: "is symbol",
    in_floats: "is symbol",
    a_power_of_two: "power of 2",
    returns_the_sum_before: "is symbol",
    returns_a_float: "should be an int",
    the_most_probable: "is symbol",
}


def right(code, low, high, table):
    return bisect_right(list(accumulate(table)), _value(code, low, high, table))


def with_a_loop(code, low, high, table):
    seen = 0
    for v, size in enumerate(table):
        seen += size
        if size and code < low + (high - low + 1) * seen // sum(table):
            return v


RIGHT = [right, with_a_loop]
