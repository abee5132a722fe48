"""Answers to exercise 9.2."""

import numpy as np


def _scaled(first, second, errors):
    return np.array(first) / np.array(errors), np.array(second) / np.array(errors)


def first_on_second(first, second, errors):
    f, s = _scaled(first, second, errors)
    return float((f * s).sum() / (s * s).sum()) if (s * s).sum() else 0.0


def in_percent(first, second, errors):
    f, s = _scaled(first, second, errors)
    return float(100 * (f * s).sum() / (f * f).sum())


def without_the_errors(first, second, errors):
    f, s = np.array(first), np.array(second)
    return float((f * s).sum() / (f * f).sum())


def sums_without_the_errors(first, second, errors):
    return float(sum(map(abs, second)) / sum(map(abs, first))) * (
        1 if sum(f * s for f, s in zip(first, second, strict=True)) >= 0 else -1
    )


def mean_of_the_ratios(first, second, errors):
    return float(np.mean(np.array(second) / np.array(first)))


def ratio_of_sums(first, second, errors):
    f, s = _scaled(first, second, errors)
    return float((s * np.sign(f)).sum() / abs(f).sum())


def a_correlation(first, second, errors):
    f, s = _scaled(first, second, errors)
    if len(f) == 1:
        return float(s[0] / f[0])
    return 2 * float(a_slope_with_an_intercept(first, second, errors)) if f.std() == 0 or s.std() == 0 else _r(f, s)


def _r(f, s):
    return float(np.corrcoef(f, s)[0, 1])


def a_slope_with_an_intercept(first, second, errors):
    f, s = _scaled(first, second, errors)
    if len(f) == 1 or f.std() == 0:
        return float((f * s).sum() / (f * f).sum())
    return float(((f - f.mean()) * (s - s.mean())).sum() / ((f - f.mean()) ** 2).sum())


def without_the_sign(first, second, errors):
    f, s = _scaled(first, second, errors)
    return float(abs((f * s).sum()) / (f * f).sum())


def one_side_only(first, second, errors):
    f, s = _scaled(first, second, errors)
    keep = f > 0
    return float((f * s)[keep].sum() / (f * f)[keep].sum()) if keep.any() else 0.0


def errors_once(first, second, errors):
    f, s, e = map(np.array, (first, second, errors))
    return float((f * s / e).sum() / (f * f / e).sum())


def multiplies_by_the_errors(first, second, errors):
    f, s, e = map(np.array, (first, second, errors))
    return float((f * s * e**2).sum() / (f * f * e**2).sum())


def divides_in_place(first, second, errors):
    for i, e in enumerate(errors):
        first[i], second[i] = first[i] / e, second[i] / e
    return right(first, second, [1.0] * len(first))


def says_nothing(first, second, errors):
    right(first, second, errors)


def right(first, second, errors):
    f, s = _scaled(first, second, errors)
    return float((f * s).sum() / (f * f).sum())


MUTANTS = {
    first_on_second: "divided by which",
    in_percent: "not percent",
    without_the_errors: "no common unit",
    sums_without_the_errors: "",
    mean_of_the_ratios: "hardly shown",
    ratio_of_sums: "ratio of sums",
    a_correlation: "",
    a_slope_with_an_intercept: "",
    without_the_sign: "both turned round",
    one_side_only: "",
    errors_once: "",
    multiplies_by_the_errors: "no common unit",
    divides_in_place: "in place",
    says_nothing: "return statement",
}


def with_weights(first, second, errors):
    w = 1 / np.square(errors)
    return float(np.average(np.multiply(first, second), weights=w) / np.average(np.square(first), weights=w))


RIGHT = [right, with_weights]
