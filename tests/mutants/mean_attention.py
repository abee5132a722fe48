"""Answers to exercise 3.1."""

import torch


def _seen_by(sums):
    return torch.arange(sums.shape[-1], 0, -1)


def divides_by_length_always(sums, *, causal):
    return sums / sums.shape[-1]


def divides_by_visible_always(sums, *, causal):
    return sums / _seen_by(sums)


def counts_the_keys_of_a_query(sums, *, causal):
    L = sums.shape[-1]
    return sums / torch.arange(1, L + 1) if causal else sums / L


def copies_the_index_of_the_paper(sums, *, causal):
    return sums / (_seen_by(sums) + 1) if causal else sums / sums.shape[-1]


def leaves_out_the_diagonal(sums, *, causal):
    return sums / (_seen_by(sums) - 1) if causal else sums / sums.shape[-1]


def divides_by_the_heads(sums, *, causal):
    return sums / _seen_by(sums) if causal else sums / sums.shape[-2]


def shares_instead_of_means(sums, *, causal):
    return sums / sums.sum(-1, keepdim=True)


def lift_instead_of_mean(sums, *, causal):
    return sums / sums.mean(-1, keepdim=True)


def swaps_the_cases(sums, *, causal):
    return sums / sums.shape[-1] if causal else sums / _seen_by(sums)


def averages_over_heads(sums, *, causal):
    return (sums / (_seen_by(sums) if causal else sums.shape[-1])).mean(-2)


def forgets_to_divide(sums, *, causal):
    return sums.clone()


def divides_in_place(sums, *, causal):
    sums /= _seen_by(sums) if causal else sums.shape[-1]
    return sums


def returns_nothing(sums, *, causal):
    sums / sums.shape[-1]


MUTANTS = {
    divides_by_length_always: "divided by L although causal",
    divides_by_visible_always: "not causal",
    counts_the_keys_of_a_query: "divided by k + 1",
    copies_the_index_of_the_paper: "counts positions from 1",
    leaves_out_the_diagonal: "its own position",
    divides_by_the_heads: "number of heads",
    shares_instead_of_means: "divided by L although causal",
    lift_instead_of_mean: "their mean over the row is 1",
    swaps_the_cases: "not causal",
    averages_over_heads: "shape",
    forgets_to_divide: "still sums",
    divides_in_place: "in place",
    returns_nothing: "return statement",
}


def key_by_key(sums, *, causal):
    L = sums.shape[-1]
    return torch.stack([sums[..., k] / (L - k if causal else L) for k in range(L)], -1)


def counts_a_mask(sums, *, causal):
    sees = torch.ones(sums.shape[-1], sums.shape[-1])
    return sums / (sees.tril() if causal else sees).sum(0)


RIGHT = [key_by_key, counts_a_mask]
