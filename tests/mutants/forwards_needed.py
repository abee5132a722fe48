"""Answers to exercise 17.3."""

import math


def _horizon(right, enough, wrong=lambda share, enough: share < enough):
    n = next((i for i, share in enumerate(right) if wrong(share, enough)), len(right))
    if n == 0:
        raise ValueError("sees nothing")
    return n


def the_horizon(right, length, enough=0.95):
    return _horizon(right, enough)


def places_that_are_left(right, length, enough=0.95):
    return max(1, length - _horizon(right, enough) + 1)


def counts_all_good_places(right, length, enough=0.95):
    return math.ceil(length / max(1, sum(share >= enough for share in right)))


def rounds_down(right, length, enough=0.95):
    return max(1, length // _horizon(right, enough))


def more_than_enough(right, length, enough=0.95):
    return math.ceil(length / max(1, next((i for i, p in enumerate(right) if p <= enough), len(right))))


def a_fixed_threshold(right, length, enough=0.95):
    return math.ceil(length / _horizon(right, 0.95))


def divides_by_zero(right, length, enough=0.95):
    return math.ceil(length / next((i for i, p in enumerate(right) if p < enough), len(right)))


def always_one_place(right, length, enough=0.95):
    return math.ceil(length / max(1, next((i for i, p in enumerate(right) if p < enough), len(right))))


def a_float(right, length, enough=0.95):
    return length / _horizon(right, enough)


def without_the_last(right, length, enough=0.95):
    return math.ceil(length / (next((i for i, p in enumerate(right) if p < enough), len(right) - 1) or 1))


def sees_beyond(right, length, enough=0.95):
    return length // _horizon(right, enough) + 1


MUTANTS = {
    the_horizon: "how many such stretches",
    places_that_are_left: "not only the first one",
    counts_all_good_places: "made from a guess",
    rounds_down: "one more",
    more_than_enough: "itself is enough",
    a_fixed_threshold: "",
    divides_by_zero: "raise ValueError",
    always_one_place: "raise ValueError",
    a_float: "should be an int",
    without_the_last: "as far as was measured",
    sees_beyond: "",
}


def right(right, length, enough=0.95):
    return math.ceil(length / _horizon(right, enough))


def with_a_loop(right, length, enough=0.95):
    seen = 0
    while seen < len(right) and right[seen] >= enough:
        seen += 1
    if not seen:
        raise ValueError("sees nothing")
    return -(-length // seen)


RIGHT = [right, with_a_loop]
