"""Answers to exercise 11.1."""

import torch


def _raw(distance, beta):
    gap = (distance - distance.min(1, keepdim=True).values).double()
    return torch.where(gap > 0, (-beta[:, None] * gap).exp(), 1.0)


def _right(distance, beta):
    raw = _raw(distance, beta)
    return raw / raw.sum(1, keepdim=True)


def the_far_ones(distance, beta):
    return (beta[:, None] * distance).softmax(1)


def over_the_batch(distance, beta):
    raw = (-beta[:, None] * distance).exp()
    return raw / raw.sum(0, keepdim=True)


def without_beta(distance, beta):
    return (-distance.double()).softmax(1)


def divides_by_beta(distance, beta):
    return (-distance / beta[:, None]).softmax(1)


def one_beta(distance, beta):
    return (-beta.mean() * distance).softmax(1)


def not_normalised(distance, beta):
    return (-beta[:, None] * distance).exp()


def squared(distance, beta):
    return (-beta[:, None] * distance.double() ** 2).softmax(1)


def one_over_distance(distance, beta):
    raw = 1 / (1 + beta[:, None] * distance)
    return raw / raw.sum(1, keepdim=True)


def nearest_only(distance, beta):
    nearest = (distance == distance.min(1, keepdim=True).values).double()
    return nearest / nearest.sum(1, keepdim=True)


def underflows(distance, beta):
    raw = (-beta[:, None] * distance).exp()
    return raw / raw.sum(1, keepdim=True)


def plain_softmax(distance, beta):
    return (-beta[:, None] * distance).softmax(1)


def nan_to_zero(distance, beta):
    finite = (-beta.clamp(max=1e300)[:, None] * distance).softmax(1)
    return torch.where(beta[:, None].isinf(), (-beta[:, None] * distance).softmax(1).nan_to_num(0.0), finite)


def first_of_the_nearest(distance, beta):
    one = torch.nn.functional.one_hot(distance.argmin(1), distance.shape[1]).double()
    return torch.where(beta[:, None].isinf(), one, (-beta.clamp(max=1e6)[:, None] * distance).softmax(1))


def only_exact_agreement(distance, beta):
    agree = (distance == 0).double()
    agree = agree / agree.sum(1, keepdim=True).clamp(min=1)
    return torch.where(beta[:, None].isinf(), agree, (-beta.clamp(max=1e6)[:, None] * distance).softmax(1))


def all_or_none(distance, beta):
    if bool(beta.isinf().any()):
        return nearest_only(distance, beta)
    return _right(distance, beta)


def single_precision(distance, beta):
    return _right(distance, beta).float()


def in_place(distance, beta):
    distance -= distance.min(1, keepdim=True).values
    return _right(distance, beta)


MUTANTS = {
    the_far_ones: "far texts",
    over_the_batch: "over the rows of the batch",
    without_beta: "beta is missing",
    divides_by_beta: "divided by beta",
    one_beta: "one beta",
    not_normalised: "do not sum to 1",
    squared: "squared",
    one_over_distance: "no posterior",
    nearest_only: "only the nearest",
    underflows: "far away",
    plain_softmax: "NaN",
    nan_to_zero: "share the weight evenly",
    first_of_the_nearest: "share the weight evenly",
    only_exact_agreement: "share the weight evenly",
    all_or_none: "each row has its own",
    single_precision: "dtype",
    in_place: "in place",
}


def with_a_huge_beta(distance, beta):
    gap = distance - distance.min(1, keepdim=True).values
    return (-beta.clamp(max=1e6)[:, None] * gap).softmax(1)


def row_by_row(distance, beta):
    rows = []
    for d, b in zip(distance, beta, strict=True):
        raw = (d == d.min()).double() if b == torch.inf else (-b * (d - d.min()).double()).exp()
        rows.append(raw / raw.sum())
    return torch.stack(rows)


def by_logsumexp(distance, beta):
    gap = (distance - distance.min(1, keepdim=True).values).double()
    log = torch.where(gap == 0, torch.zeros_like(gap), -beta[:, None] * gap)
    return (log - log.logsumexp(1, keepdim=True)).exp()


RIGHT = [with_a_huge_beta, row_by_row, by_logsumexp]
