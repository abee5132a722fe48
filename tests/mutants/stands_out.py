"""Answers to exercise 3.2."""

import torch


def _others(sums):
    return (sums.sum(-1, keepdim=True) - sums) / (sums.shape[-1] - 1)


def the_printed_formula(sums, eps=3.0):
    mean = sums / sums.shape[-1]
    return mean > _others(mean) + eps


def counts_itself_among_the_others(sums, eps=3.0):
    return sums > sums.mean(-1, keepdim=True) + eps


def divides_the_others_by_length(sums, eps=3.0):
    return sums > (sums.sum(-1, keepdim=True) - sums) / sums.shape[-1] + eps


def factor_instead_of_difference(sums, eps=3.0):
    return sums > eps * _others(sums)


def standard_deviations(sums, eps=3.0):
    return sums > sums.mean(-1, keepdim=True) + eps * sums.std(-1, correction=0, keepdim=True)


def equal_is_enough(sums, eps=3.0):
    return sums >= _others(sums) + eps


def always_three(sums, eps=3.0):
    return sums > _others(sums) + 3.0


def only_the_strongest(sums, eps=3.0):
    first = torch.nn.functional.one_hot(sums.argmax(-1), sums.shape[-1]).bool()
    return first & (sums > _others(sums) + eps)


def mean_over_the_batch(sums, eps=3.0):
    return sums > (sums.sum() - sums) / (sums.numel() - 1) + eps


def the_strongest_of_every_row(sums, eps=3.0):
    return sums == sums.amax(-1, keepdim=True)


def returns_numbers(sums, eps=3.0):
    return (sums > _others(sums) + eps).float()


def subtracts_in_place(sums, eps=3.0):
    others = _others(sums)
    sums -= others
    return sums > eps


MUTANTS = {
    the_printed_formula: "after division by L",
    counts_itself_among_the_others: "leaves out the position itself",
    divides_the_others_by_length: "L - 1 others",
    factor_instead_of_difference: "it is no factor",
    standard_deviations: "standard deviation",
    equal_is_enough: "not >=",
    always_three: "is eps used",
    only_the_strongest: "two positions of one row",
    mean_over_the_batch: "its own row",
    the_strongest_of_every_row: "2.0 beside 0.75 does not",
    returns_numbers: "dtype",
    subtracts_in_place: "in place",
}


def position_by_position(sums, eps=3.0):
    out = torch.zeros_like(sums, dtype=torch.bool)
    for i in range(sums.shape[-1]):
        others = torch.cat([sums[..., :i], sums[..., i + 1 :]], -1)
        out[..., i] = sums[..., i] > others.mean(-1) + eps
    return out


def as_a_difference(sums, eps=3.0):
    return sums - _others(sums) > eps


def without_a_division(sums, eps=3.0):
    L = sums.shape[-1]
    return L * sums > sums.sum(-1, keepdim=True) + (L - 1) * eps


RIGHT = [position_by_position, as_a_difference, without_a_division]
