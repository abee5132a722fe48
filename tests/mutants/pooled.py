"""Answers to exercise 14.2."""

import torch


def _plain(targets, weight):
    return (weight[:, None] * targets).sum(0)


def _geometric(targets, weight):
    return (weight[:, None] * targets.log()).sum(0)


def exchanges_the_directions(targets, weight, *, reverse):
    return _plain(targets, weight) if reverse else _geometric(targets, weight).softmax(-1)


def always_the_plain_mean(targets, weight, *, reverse):
    return _plain(targets, weight)


def always_the_geometric_mean(targets, weight, *, reverse):
    return _geometric(targets, weight).softmax(-1)


def does_not_normalise(targets, weight, *, reverse):
    return _geometric(targets, weight).exp() if reverse else _plain(targets, weight)


def takes_the_best(targets, weight, *, reverse):
    mean = _plain(targets, weight)
    return torch.nn.functional.one_hot(mean.argmax(), len(mean)).to(mean) if reverse else mean


def multiplies_all(targets, weight, *, reverse):
    return targets.log().sum(0).softmax(-1) if reverse else _plain(targets, weight)


def ignores_the_weights(targets, weight, *, reverse):
    even = torch.full_like(weight, 1 / len(weight))
    return _geometric(targets, even).softmax(-1) if reverse else _plain(targets, even)


def weighs_before_the_logarithm(targets, weight, *, reverse):
    return (weight[:, None] * targets).log().mean(0).softmax(-1) if reverse else _plain(targets, weight)


def ignores_them_in_the_plain_mean(targets, weight, *, reverse):
    return _geometric(targets, weight).softmax(-1) if reverse else targets.mean(0)


def squares(targets, weight, *, reverse):
    mean = _plain(targets, weight)
    return mean**2 / (mean**2).sum() if reverse else mean


def takes_the_harmonic_mean(targets, weight, *, reverse):
    q = 1 / (weight[:, None] / targets).sum(0)
    return q / q.sum() if reverse else _plain(targets, weight)


def returns_the_logarithm(targets, weight, *, reverse):
    return _geometric(targets, weight).log_softmax(-1) if reverse else _plain(targets, weight)


def scales_the_targets(targets, weight, *, reverse):
    out = _geometric(targets, weight).softmax(-1) if reverse else _plain(targets, weight)
    targets *= weight[:, None]
    return out


MUTANTS = {
    exchanges_the_directions: "exchanged",
    always_the_plain_mean: "other direction",
    always_the_geometric_mean: "not reverse: the plain mean",
    does_not_normalise: "a distribution to 1",
    takes_the_best: "takes everything",
    multiplies_all: "normalised 0.75",
    ignores_the_weights: "four times",
    weighs_before_the_logarithm: "four times",
    ignores_them_in_the_plain_mean: "four times",
    squares: "normalised 0.75",
    takes_the_harmonic_mean: "normalised 0.75",
    returns_the_logarithm: "a distribution to 1",
    scales_the_targets: "in place",
}


def right(targets, weight, *, reverse):
    return _geometric(targets, weight).softmax(-1) if reverse else _plain(targets, weight)


def right_by_powers(targets, weight, *, reverse):
    q = (targets ** weight[:, None]).prod(0) if reverse else weight @ targets
    return q / q.sum()


RIGHT = [right, right_by_powers]
