"""Answers to exercise 4.5."""

import torch


def _scaled(importance):
    v = torch.tensor(list(importance), dtype=torch.float64)
    spread = v.max() - v.min()
    return (v - v.min()) / spread if spread > 0 else torch.full_like(v, 0.5)


def _settle(s, sparsity, rounds=200):
    for _ in range(rounds):
        s = (s + sparsity - s.mean()).clamp(0, 0.95)
    return s.tolist()


def important_is_sparser(sparsity, importance, *, width=0.1):
    return _settle(sparsity - width * (1 - 2 * _scaled(importance)), sparsity)


def half_the_width(sparsity, importance, *, width=0.1):
    return _settle(sparsity + width / 2 * (1 - 2 * _scaled(importance)), sparsity)


def forgets_the_mean(sparsity, importance, *, width=0.1):
    return (sparsity + width * (1 - 2 * _scaled(importance))).clamp(0, 0.95).tolist()


def scales_the_mean(sparsity, importance, *, width=0.1):
    s = sparsity + width * (1 - 2 * _scaled(importance))
    return _settle(s * sparsity / s.mean(), sparsity)


def divides_by_the_maximum(sparsity, importance, *, width=0.1):
    v = torch.tensor(list(importance), dtype=torch.float64)
    return _settle(sparsity + width * (1 - 2 * v / v.max()), sparsity)


def by_rank(sparsity, importance, *, width=0.1):
    rank = torch.tensor(list(importance)).argsort().argsort().double()
    return _settle(sparsity + width * (1 - 2 * rank / (len(rank) - 1)), sparsity)


def divides_by_zero(sparsity, importance, *, width=0.1):
    v = torch.tensor(list(importance), dtype=torch.float64)
    return _settle(sparsity + width * (1 - 2 * (v - v.min()) / (v.max() - v.min())), sparsity)


def no_limit(sparsity, importance, *, width=0.1):
    s = sparsity + width * (1 - 2 * _scaled(importance))
    return (s + sparsity - s.mean()).tolist()


def cuts_once(sparsity, importance, *, width=0.1):
    s = sparsity + width * (1 - 2 * _scaled(importance))
    return (s + sparsity - s.mean()).clamp(0, 0.95).tolist()


def one_value(sparsity, importance, *, width=0.1):
    return [sparsity]


def always_a_tenth(sparsity, importance, *, width=0.1):
    return layer_plan(sparsity, importance, min(width, 0.1) if len(importance) > 4 else width)


def layer_plan(sparsity, importance, width):
    return _settle(sparsity + width * (1 - 2 * _scaled(importance)), sparsity)


MUTANTS = {
    always_a_tenth: "linear in them",
    important_is_sparser: "sign",
    half_the_width: "half of the span",
    forgets_the_mean: "mean",
    scales_the_mean: "shift all layers alike",
    divides_by_the_maximum: "minimum and maximum",
    by_rank: "shift",
    divides_by_zero: "uniform",
    no_limit: "0.95",
    cuts_once: "repaired again",
    one_value: "one sparsity a layer",
}


def in_plain_python(sparsity, importance, *, width=0.1):
    low, high = min(importance), max(importance)
    s = [sparsity + width * (1 - 2 * ((v - low) / (high - low) if high > low else 0.5)) for v in importance]
    for _ in range(500):
        shift = sparsity - sum(s) / len(s)
        s = [min(max(v + shift, 0.0), 0.95) for v in s]
    return s


def as_a_tensor(sparsity, importance, *, width=0.1):
    return torch.tensor(_settle(sparsity + width * (1 - 2 * _scaled(importance)), sparsity), dtype=torch.float64)


RIGHT = [in_plain_python, as_a_tensor]
