"""Answers to exercise 5.4."""

import itertools
from fractions import Fraction


def _grouped(every, key):
    found = {}
    for bits in every:
        found.setdefault(key(bits), []).append(bits)
    return found


def _mean(bits):
    return Fraction(sum(bits), len(bits))


def without_order(choices=(4, 8, 16), phases=3):
    return _grouped(itertools.combinations_with_replacement(choices, phases), _mean)


def without_repetition(choices=(4, 8, 16), phases=3):
    return _grouped(itertools.permutations(choices, min(phases, len(choices))), _mean)


def by_sum(choices=(4, 8, 16), phases=3):
    return _grouped(itertools.product(choices, repeat=phases), sum)


def by_float(choices=(4, 8, 16), phases=3):
    return _grouped(itertools.product(choices, repeat=phases), lambda bits: sum(bits) / phases)


def by_whole_bits(choices=(4, 8, 16), phases=3):
    return _grouped(itertools.product(choices, repeat=phases), lambda bits: sum(bits) // phases)


def always_three_phases(choices=(4, 8, 16), phases=3):
    return _grouped(itertools.product(choices, repeat=3), _mean)


def always_three_choices(choices=(4, 8, 16), phases=3):
    return _grouped(itertools.product((4, 8, 16), repeat=phases), _mean)


def one_of_each_mean(choices=(4, 8, 16), phases=3):
    return {mean: group[:1] for mean, group in every(choices, phases).items()}


def only_where_there_is_a_choice(choices=(4, 8, 16), phases=3):
    return {mean: group for mean, group in every(choices, phases).items() if len(group) > 1}


def a_flat_list(choices=(4, 8, 16), phases=3):
    return list(itertools.product(choices, repeat=phases))


def sorted_bits(choices=(4, 8, 16), phases=3):
    return _grouped((tuple(sorted(b)) for b in itertools.product(choices, repeat=phases)), _mean)


def at_most_three_phases(choices=(4, 8, 16), phases=3):
    return _grouped(itertools.product(choices, repeat=min(phases, 3)), lambda b: Fraction(sum(b), min(phases, 3)))


MUTANTS = {
    without_order: "two schedules",
    without_repetition: "4, 4 is missing",
    by_sum: "it should be the mean",
    by_float: "Fraction",
    by_whole_bits: "choices",
    always_three_phases: "missing",
    always_three_choices: "means 4, 6 and 8",
    one_of_each_mean: "two schedules",
    only_where_there_is_a_choice: "missing",
    a_flat_list: "it should be a dict",
    sorted_bits: "two schedules",
    at_most_three_phases: "4 phases",
}


def every(choices=(4, 8, 16), phases=3):
    return _grouped(itertools.product(choices, repeat=phases), _mean)


def one_phase_after_the_other(choices=(4, 8, 16), phases=3):
    lists = [()]
    for _ in range(phases):
        lists = [[*bits, b] for b in choices for bits in lists]
    return _grouped(map(tuple, lists), _mean)


RIGHT = [every, one_phase_after_the_other]
