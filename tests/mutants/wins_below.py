"""Answers to exercise 18.1."""

import math


def _checked(plain, packed):
    if packed[0] >= plain[0]:
        raise ValueError("bits")


def own_break_even(plain, packed, bandwidth):
    _checked(plain, packed)
    return math.inf if packed[1] > plain[1] else packed[0] * packed[1] / (16 * bandwidth)


def plain_break_even(plain, packed, bandwidth):
    _checked(plain, packed)
    return math.inf if packed[1] > plain[1] else plain[0] * plain[1] / (16 * bandwidth)


def bits_for_bytes(plain, packed, bandwidth):
    _checked(plain, packed)
    return math.inf if packed[1] > plain[1] else plain[0] * packed[1] / (2 * bandwidth)


def one_operation(plain, packed, bandwidth):
    _checked(plain, packed)
    return math.inf if packed[1] > plain[1] else plain[0] * packed[1] / (8 * bandwidth)


def sums(plain, packed, bandwidth):
    _checked(plain, packed)
    more = 1 / packed[1] - 1 / plain[1]
    return math.inf if more <= 0 else (plain[0] - packed[0]) / (16 * bandwidth * more)


def always(plain, packed, bandwidth):
    _checked(plain, packed)
    return math.inf


def no_matter_the_bandwidth(plain, packed, bandwidth):
    _checked(plain, packed)
    return math.inf if packed[1] > plain[1] else plain[0] * packed[1] / (16 * 5e10)


def equal_is_more(plain, packed, bandwidth):
    _checked(plain, packed)
    return math.inf if packed[1] >= plain[1] else plain[0] * packed[1] / (16 * bandwidth)


def never_for_ever(plain, packed, bandwidth):
    _checked(plain, packed)
    return plain[0] * min(packed[1], plain[1]) / (16 * bandwidth)


def refuses_nothing(plain, packed, bandwidth):
    return math.inf if packed[1] > plain[1] else plain[0] * packed[1] / (16 * bandwidth)


def whole_rows(plain, packed, bandwidth):
    _checked(plain, packed)
    return math.inf if packed[1] > plain[1] else math.floor(plain[0] * packed[1] / (16 * bandwidth))


MUTANTS = {
    own_break_even: "its own",
    plain_break_even: "fell behind before that",
    bits_for_bytes: "bits are not bytes",
    one_operation: "multiply-add",
    sums: "maxima",
    always: "for ever",
    no_matter_the_bandwidth: "twice the bandwidth",
    equal_is_more: "neither is faster",
    never_for_ever: "never loses",
    refuses_nothing: "ValueError",
    whole_rows: "need not be whole",
}


def right(plain, packed, bandwidth):
    _checked(plain, packed)
    return math.inf if packed[1] > plain[1] else plain[0] * packed[1] / (16 * bandwidth)


def by_units(plain, packed, bandwidth):
    (bits, best), (fewer, mine) = plain, packed
    if not fewer < bits:
        raise ValueError(f"{fewer} bits")
    if mine > best:
        return float("inf")
    waiting = bits / 8 / bandwidth  # seconds a weight
    a_row = 2 / mine
    return waiting / a_row


RIGHT = [right, by_units]
