"""Answers to exercise 4.4."""

import torch


def _each(weights, real, draw):
    out = torch.zeros_like(weights)
    for i, n in enumerate(real.sum(1).tolist()):
        out[i, :n] = weights[i, draw(n)]
    return out


def as_given(weights, real, generator):
    order = torch.randint(weights.shape[1], (weights.shape[1],))
    return weights[:, order]


def with_replacement(weights, real, generator):
    return _each(weights, real, lambda n: torch.randint(n, (n,), generator=generator))


def one_order_for_all(weights, real, generator):
    place = torch.rand(weights.shape[1], generator=generator).expand_as(weights)
    return weights.gather(1, place.masked_fill(~real, 2.0).argsort(1)) * real


def among_padding_too(weights, real, generator):
    out = torch.stack([w[torch.randperm(len(w), generator=generator)] for w in weights]) if len(weights) else weights
    return out * real


def keeps_padding(weights, real, generator):
    return torch.where(real, _each(weights, real, lambda n: torch.randperm(n, generator=generator)), weights)


def from_the_global_generator(weights, real, generator):
    return _each(weights, real, torch.randperm)


def a_seed_of_its_own(weights, real, generator):
    g = torch.Generator().manual_seed(0)
    return _each(weights, real, lambda n: torch.randperm(n, generator=g))


def turns_round(weights, real, generator):
    return _each(weights, real, lambda n: (torch.arange(n) + int(torch.randint(3, (1,), generator=generator))) % n)


def does_nothing(weights, real, generator):
    return weights * real


def across_states(weights, real, generator):
    out, pool = torch.zeros_like(weights), weights[real]
    out[real] = pool[torch.randperm(len(pool), generator=generator)]
    return out


def writes_into_weights(weights, real, generator):
    for row, n in zip(weights, real.sum(1).tolist(), strict=True):
        row[:n] = row[:n][torch.randperm(n, generator=generator)]
    return weights * real


def ones_and_rest(weights, real, generator):
    mean = (weights * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)
    return mean * real


MUTANTS = {
    as_given: "no token",
    with_replacement: "dealt twice",
    one_order_for_all: "the same order",
    among_padding_too: "the real tokens only",
    keeps_padding: "no token",
    from_the_global_generator: "global generator",
    a_seed_of_its_own: "not used",
    turns_round: "the same order",
    does_nothing: "nothing was shuffled",
    across_states: "its own weights",
    writes_into_weights: "in place",
    ones_and_rest: "dealt twice",
}


def by_random_keys(weights, real, generator):
    place = torch.rand(weights.shape, generator=generator).masked_fill(~real, 2.0).argsort(1)
    return weights.gather(1, place) * real


def by_permutation(weights, real, generator):
    return _each(weights, real, lambda n: torch.randperm(n, generator=generator))


RIGHT = [by_random_keys, by_permutation]
