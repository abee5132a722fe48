"""Answers to exercise 8.2."""

import torch
import torch.nn.functional as F


def cosine(x, age):
    return F.cosine_similarity(x[: len(x) - age], x[age:], dim=-1)


def dot_product(x, age):
    return 1 - (x[: len(x) - age] * x[age:]).sum(-1)


def divides_by_one_length(x, age):
    return 1 - (x[: len(x) - age] * x[age:]).sum(-1) / x[: len(x) - age].norm(dim=-1) ** 2


def euclidean(x, age):
    return (x[: len(x) - age] - x[age:]).norm(dim=-1)


def next_state_only(x, age):
    return (1 - F.cosine_similarity(x[:-1], x[1:], dim=-1))[: len(x) - age]


def over_states(x, age):
    return 1 - F.cosine_similarity(x[: len(x) - age], x[age:], dim=0)


def adds_up_the_way(x, age):
    step = 1 - F.cosine_similarity(x[:-1], x[1:], dim=-1)
    return step.unfold(0, age, 1).sum(-1) * 0.5


def rolls_around(x, age):
    return 1 - F.cosine_similarity(x, x.roll(-age, 0), dim=-1)


def absolute_cosine(x, age):
    return 1 - F.cosine_similarity(x[: len(x) - age], x[age:], dim=-1).abs()


def drops_everything_at_age_0(x, age):
    return 1 - F.cosine_similarity(x[:-age], x[age:], dim=-1)


def angle(x, age):
    return F.cosine_similarity(x[: len(x) - age], x[age:], dim=-1).clamp(-1, 1).acos() / (torch.pi / 2)


def chord(x, age):
    u = F.normalize(x, dim=-1)
    return (u[: len(x) - age] - u[age:]).norm(dim=-1) / 2**0.5


def correlation(x, age):
    return 1 - F.cosine_similarity(*((y - y.mean(-1, keepdim=True)) for y in (x[: len(x) - age], x[age:])), dim=-1)


def signs_only(x, age):
    return 1 - F.cosine_similarity(x[: len(x) - age].sign(), x[age:].sign(), dim=-1)


def two_ages_at_most(x, age):
    return 1 - F.cosine_similarity(x[: len(x) - age], x[min(age, 2) :][: len(x) - age], dim=-1)


MUTANTS = {
    cosine: "distance 0, not 1",
    dot_product: "both lengths",
    divides_by_one_length: "both lengths",
    euclidean: "both lengths",
    next_state_only: "s and s + age",
    over_states: "shape",
    adds_up_the_way: "right angle",
    rolls_around: "shape",
    absolute_cosine: "the other way",
    drops_everything_at_age_0: "x[:-0]",
    angle: "this is the angle",
    chord: "distance 2",
    correlation: "right angle",
    signs_only: "one minus the cosine",
    two_ages_at_most: "one minus the cosine",
}


def by_hand(x, age):
    a, b = x[: len(x) - age], x[age:]
    return 1 - (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))


def unit_vectors(x, age):
    u = F.normalize(x, dim=-1)
    return 1 - torch.einsum("sld,sld->sl", u[: len(u) - age], u[age:])


def half_the_squared_chord(x, age):
    u = F.normalize(x, dim=-1)
    return (u[: len(x) - age] - u[age:]).square().sum(-1) / 2


RIGHT = [by_hand, unit_vectors, half_the_squared_chord]
