"""Answers to exercise 19.2."""

import math

import torch


def _cut(quiet, at_most):
    quiet = quiet.sort().values
    return quiet[len(quiet) - 1 - math.floor(at_most * len(quiet) + 1e-9)]


def chooses_on_the_test(scores, validation, allowed, at_most):
    return scores > _cut(scores, at_most)


def alarms_at_the_threshold(scores, validation, allowed, at_most):
    return scores >= _cut(validation[allowed], at_most)


def counts_forbidden_requests(scores, validation, allowed, at_most):
    return scores > _cut(validation, at_most)


def looks_at_the_forbidden(scores, validation, allowed, at_most):
    forbidden = validation[~allowed]
    return scores > (forbidden.min() - 1e-6 if len(forbidden) else torch.inf)


def interpolates(scores, validation, allowed, at_most):
    return scores > validation[allowed].quantile(1 - at_most)


def rounds_up(scores, validation, allowed, at_most):
    quiet = validation[allowed].sort().values
    return scores > quiet[max(len(quiet) - 1 - math.ceil(at_most * len(quiet) - 1e-9), 0)]


def promises_hits(scores, validation, allowed, at_most):
    return scores < _cut(validation[allowed], at_most)


def a_half(scores, validation, allowed, at_most):
    return scores > 0.5


def one_more_alarm(scores, validation, allowed, at_most):
    quiet = validation[allowed].sort().values
    return scores > quiet[max(len(quiet) - 2 - math.floor(at_most * len(quiet) + 1e-9), 0)]


def normalises_by_the_test(scores, validation, allowed, at_most):
    return scores / scores.max() > _cut(validation[allowed], at_most)


def returns_numbers(scores, validation, allowed, at_most):
    return (scores > _cut(validation[allowed], at_most)).float()


MUTANTS = {
    chooses_on_the_test: "validation's",
    alarms_at_the_threshold: "above, not at it",
    counts_forbidden_requests: "allowed ones set it",
    looks_at_the_forbidden: "allowed ones set it",
    interpolates: "which is 0.3",
    rounds_up: "round down",
    promises_hits: "which is 0.3",
    a_half: "which is 0.3",
    one_more_alarm: "which is 0.3",
    normalises_by_the_test: "which is 0.3",
    returns_numbers: "dtype",
}


def right(scores, validation, allowed, at_most):
    return scores > _cut(validation[allowed], at_most)


def right_by_counting(scores, validation, allowed, at_most):
    quiet = validation[allowed]
    above = (quiet[None] > quiet[:, None]).sum(1)
    return scores > quiet[above <= at_most * len(quiet) + 1e-9].min()


RIGHT = [right, right_by_counting]
