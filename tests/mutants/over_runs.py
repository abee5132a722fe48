"""Answers to exercise 9.3."""

import math
import statistics

from scipy.stats import t


def _make(half):
    def fn(effects):
        if len(effects) < 2:
            raise ValueError("one run")
        mean = sum(effects) / len(effects)
        return mean, mean - half(effects), mean + half(effects)

    return fn


def _error(effects):
    return statistics.stdev(effects) / math.sqrt(len(effects))


def _q(effects, df=-1, p=0.975):
    return float(t.ppf(p, len(effects) + df))


right = _make(lambda e: _q(e) * _error(e))


def a_normal_interval(effects):
    return _make(lambda e: 1.96 * _error(e))(effects)


def n_degrees_of_freedom(effects):
    return _make(lambda e: _q(e, 0) * _error(e))(effects)


def divides_by_n(effects):
    return _make(lambda e: _q(e) * statistics.pstdev(e) / math.sqrt(len(e)))(effects)


def of_single_runs(effects):
    return _make(lambda e: _q(e) * statistics.stdev(e))(effects)


def one_standard_error(effects):
    return _make(_error)(effects)


def one_standard_deviation(effects):
    return _make(statistics.stdev)(effects)


def one_sided(effects):
    return _make(lambda e: _q(e, p=0.95) * _error(e))(effects)


def a_range(effects):
    return (sum(effects) / len(effects), min(effects), max(effects)) if len(effects) > 1 else right(effects)


def by_the_size_of_the_mean(effects):
    mean, low, high = right(effects)
    return (mean, high, low) if mean < 0 else (mean, low, high)


def one_run_is_enough(effects):
    return right(effects) if len(effects) > 1 else (sum(effects), 0.0, 0.0)


def always_two_runs(effects):
    return _make(lambda e: 12.7062 * _error(e))(effects)


def the_median(effects):
    mean, low, high = right(effects)
    middle = statistics.median(effects)
    return middle, middle - (mean - low), middle + (high - mean)


def sorts_in_place(effects):
    effects.sort(reverse=True)
    return right(effects)


def without_the_mean(effects):
    return right(effects)[1:]


def says_nothing(effects):
    right(effects)


MUTANTS = {
    a_normal_interval: "1.96 is the factor",
    n_degrees_of_freedom: "one degree of freedom, not two",
    divides_by_n: "divided by n - 1",
    of_single_runs: "by the root of n",
    one_standard_error: "one standard error",
    one_standard_deviation: "no interval of their mean",
    one_sided: "not below 0.95",
    a_range: "one standard error",
    by_the_size_of_the_mean: "low is below the mean",
    one_run_is_enough: "says nothing about another",
    always_two_runs: "1, 2, 3 and 6",
    the_median: "",
    sorts_in_place: "in place",
    without_the_mean: "tuple of three numbers",
    says_nothing: "return statement",
}


def with_scipy(effects):
    if len(effects) < 2:
        raise ValueError("a spread needs two")
    mean, half = statistics.fmean(effects), float(t.ppf(0.975, len(effects) - 1)) * _error(effects)
    return mean, mean - half, mean + half


RIGHT = [right, with_scipy]
