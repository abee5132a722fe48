"""Answers to exercise 16.2."""

import torch


def _scan(q, k, v, decay):
    at = torch.arange(q.shape[-2], dtype=q.dtype)
    return (q @ k.mT * (decay ** (at[:, None] - at).abs()).tril()) @ v


def _back(q, k, v, decay):
    return _scan(q.flip(-2), k.flip(-2), v.flip(-2), decay).flip(-2)


def _own(q, k, v):
    return (q * k).sum(-1, keepdim=True) * v


def counts_itself_twice(q, k, v, decay=1.0):
    return _scan(q, k, v, decay) + _back(q, k, v, decay)


def forward_only(q, k, v, decay=1.0):
    return _scan(q, k, v, decay)


def backward_only(q, k, v, decay=1.0):
    return _back(q, k, v, decay)


def never_counts_itself(q, k, v, decay=1.0):
    return _scan(q, k, v, decay) + _back(q, k, v, decay) - 2 * _own(q, k, v)


def stays_reversed(q, k, v, decay=1.0):
    return _scan(q, k, v, decay) + _back(q, k, v, decay).flip(-2) - _own(q, k, v)


def takes_the_value(q, k, v, decay=1.0):
    return _scan(q, k, v, decay) + _back(q, k, v, decay) - v


def fades_itself(q, k, v, decay=1.0):
    return _scan(q, k, v, decay) + _back(q, k, v, decay) - decay * _own(q, k, v)


def no_decay(q, k, v, decay=1.0):
    return q @ (k.mT @ v)


def the_mean(q, k, v, decay=1.0):
    return (_scan(q, k, v, decay) + _back(q, k, v, decay)) / 2


def queries_not_turned(q, k, v, decay=1.0):
    return _scan(q, k, v, decay) + _scan(q, k.flip(-2), v.flip(-2), decay).flip(-2) - _own(q, k, v)


def in_float32(q, k, v, decay=1.0):
    return right(q.float(), k.float(), v.float(), decay)


MUTANTS = {
    counts_itself_twice: "counted twice",
    forward_only: "after a token is missing",
    backward_only: "before a token is missing",
    never_counts_itself: "once, not twice",
    stays_reversed: "in reverse",
    takes_the_value: "not v alone",
    fades_itself: "distance 0",
    no_decay: "decay is missing",
    the_mean: "not their mean",
    queries_not_turned: "the values are",
    in_float32: "dtype",
}


def right(q, k, v, decay=1.0):
    return _scan(q, k, v, decay) + _back(q, k, v, decay) - _own(q, k, v)


def as_a_matrix(q, k, v, decay=1.0):
    at = torch.arange(q.shape[-2], dtype=q.dtype)
    return (q @ k.mT * decay ** (at[:, None] - at).abs()) @ v


RIGHT = [right, as_a_matrix]
