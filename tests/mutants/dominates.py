"""Answers to exercise 6.1."""


def higher_is_better(a, b):
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))


def equal_is_enough(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True))


def lower_in_all(a, b):
    return all(x < y for x, y in zip(a, b, strict=True))


def lower_in_any(a, b):
    return any(x < y for x, y in zip(a, b, strict=True))


def by_the_sum(a, b):
    return sum(a) < sum(b)


def by_the_first_that_differs(a, b):
    return tuple(a) < tuple(b)


def in_most_objectives(a, b):
    return sum(x < y for x, y in zip(a, b, strict=True)) > sum(x > y for x, y in zip(a, b, strict=True))


def two_objectives_only(a, b):
    a, b = a[:2], b[:2]
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def by_differences(a, b):
    gaps = [x - y for x, y in zip(a, b, strict=True)]
    return all(gap <= 0 for gap in gaps) and any(gap < 0 for gap in gaps)


def two_numbers_compared(a, b):
    return max(a) < max(b) and min(a) <= min(b)


def returns_the_winner(a, b):
    return a if all(x <= y for x, y in zip(a, b, strict=True)) else b


def returns_nothing(a, b):
    all(x <= y for x, y in zip(a, b, strict=True))


MUTANTS = {
    higher_is_better: "lower is better",
    equal_is_enough: "an equal one",
    lower_in_all: "is enough",
    lower_in_any: "neither dominates",
    by_the_sum: "cannot be added up",
    by_the_first_that_differs: "neither dominates",
    in_most_objectives: "for [",
    two_objectives_only: "more than two",
    by_differences: "do not subtract",
    two_numbers_compared: "inf equals inf",
    returns_the_winner: "True or False",
    returns_nothing: "return statement",
}


def loop(a, b):
    better = False
    for x, y in zip(a, b, strict=True):
        if x > y:
            return False
        better = better or x < y
    return better


def not_worse_and_not_equal(a, b):
    return not any(x > y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


RIGHT = [loop, not_worse_and_not_equal]
