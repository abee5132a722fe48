"""Answers to exercise 3.4."""

import torch


def _shares(mass, kinds, n):
    got = torch.stack([mass[kinds == k].sum() for k in range(n)]) / mass.sum()
    base = torch.stack([(kinds == k).float().mean() for k in range(n)])
    return got, base


def share_of_attention_alone(mass, kinds, n):
    return _shares(mass, kinds, n)[0]


def upside_down(mass, kinds, n):
    got, base = _shares(mass, kinds, n)
    return base / got


def difference_of_shares(mass, kinds, n):
    got, base = _shares(mass, kinds, n)
    return got - base


def mean_mass_of_a_kind(mass, kinds, n):
    return torch.stack([mass[kinds == k].mean() for k in range(n)])


def counts_per_state(mass, kinds, n):
    got, base = _shares(mass, kinds, n)
    return got / (base * len(kinds))


def equal_kinds(mass, kinds, n):
    got, base = _shares(mass, kinds, n)
    return (got * n).where(base > 0, torch.nan)


def equal_kinds_that_occur(mass, kinds, n):
    got, base = _shares(mass, kinds, n)
    return (got * (base > 0).sum()).where(base > 0, torch.nan)


def averages_the_states(mass, kinds, n):
    shares = [_shares(m[None], k[None], n) for m, k in zip(mass, kinds, strict=True)]
    return torch.stack([got / base for got, base in shares]).nanmean(0)


def zero_where_absent(mass, kinds, n):
    got, base = _shares(mass, kinds, n)
    return (got / base).nan_to_num(0.0)


def fair_where_absent(mass, kinds, n):
    got, base = _shares(mass, kinds, n)
    return (got / base).nan_to_num(1.0)


def never_divides_by_zero(mass, kinds, n):
    got, base = _shares(mass, kinds, n)
    return got / base.clamp(min=1e-9)


def leaves_out_absent_kinds(mass, kinds, n):
    got, base = _shares(mass, kinds, n)
    return (got / base)[base > 0]


def normalises_in_place(mass, kinds, n):
    mass /= mass.sum()
    got, base = _shares(mass, kinds, n)
    return got / base


MUTANTS = {
    share_of_attention_alone: "divide by its base rate",
    upside_down: "upside down",
    difference_of_shares: "is a ratio",
    mean_mass_of_a_kind: "mean mass",
    counts_per_state: "counted per state",
    equal_kinds: "divided by 1 / n",
    equal_kinds_that_occur: "not equally frequent",
    averages_the_states: "averaged",
    zero_where_absent: "NaN",
    fair_where_absent: "NaN",
    never_divides_by_zero: "NaN",
    leaves_out_absent_kinds: "shape",
    normalises_in_place: "in place",
}


def kind_by_kind(mass, kinds, n):
    got, base = _shares(mass, kinds, n)
    return got / base


def lift_times_one(mass, kinds, n):
    return mean_mass_of_a_kind(mass / mass.mean(), kinds, n)


def one_hot(mass, kinds, n):
    is_kind = torch.nn.functional.one_hot(kinds, n).float()  # (S, L, n)
    return (is_kind * mass[..., None]).sum((0, 1)) / mass.sum() / is_kind.mean((0, 1))


def weighted_bincount(mass, kinds, n):
    flat = kinds.flatten()
    got = flat.bincount(mass.flatten(), minlength=n) / mass.sum()
    return (got / (flat.bincount(minlength=n) / flat.numel())).float()


RIGHT = [kind_by_kind, lift_times_one, one_hot, weighted_bincount]
