"""Answers to exercise 21.2."""

import statistics

import numpy as np

var = statistics.variance


def _differences(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


def exchanged(a, b):
    paired, apart = right(a, b)
    return apart, paired


def never_paired(a, b):
    _, apart = right(a, b)
    return apart, apart


def of_one_verdict(a, b):
    return var(_differences(a, b)) ** 0.5, (var(a) + var(b)) ** 0.5


def one_method_only(a, b):
    return right(a, b)[0], (var(a) / len(a)) ** 0.5


def adds_the_errors(a, b):
    return right(a, b)[0], (var(a) / len(a)) ** 0.5 + (var(b) / len(b)) ** 0.5


def divides_by_n(a, b):
    n = len(a)
    return (np.var(_differences(a, b)) / n) ** 0.5, ((np.var(a) + np.var(b)) / n) ** 0.5


def without_the_root(a, b):
    return var(_differences(a, b)) / len(a), (var(a) + var(b)) / len(a)


def twice_as_many_problems(a, b):
    return right(a, b)[0], ((var(a) + var(b)) / (2 * len(a))) ** 0.5


def paired_is_never_larger(a, b):
    paired, apart = right(a, b)
    return min(paired, apart), apart


def sorts_before_pairing(a, b):
    return right(sorted(a), sorted(b))[0], right(a, b)[1]


def one_number(a, b):
    return right(a, b)[0]


MUTANTS = {
    exchanged: "exchanged?",
    never_paired: "agree on every problem",
    of_one_verdict: "not of a mean",
    one_method_only: "only one method",
    adds_the_errors: "their squares do",
    divides_by_n: "n - 1",
    without_the_root: "is its root",
    twice_as_many_problems: "no 2 n problems",
    paired_is_never_larger: "makes the error *larger*",
    sorts_before_pairing: "makes the error *larger*",
    one_number: "two numbers",
}


def right(a, b):
    return (var(_differences(a, b)) / len(a)) ** 0.5, ((var(a) + var(b)) / len(a)) ** 0.5


def by_the_covariance(a, b):
    c = np.cov(a, b)
    return max(0.0, c[0, 0] + c[1, 1] - 2 * c[0, 1]) ** 0.5 / len(a) ** 0.5, ((c[0, 0] + c[1, 1]) / len(a)) ** 0.5


RIGHT = [right, by_the_covariance]
