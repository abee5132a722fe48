"""Answers to exercise 3.3."""

import torch


def _place(m):
    return torch.arange(m.shape[-1], dtype=m.dtype)


def every_sink_alike(m, sinks):
    return (sinks * _place(m)).sum(-1) / sinks.sum(-1)


def all_positions(m, sinks):
    return (m * _place(m)).sum(-1) / m.sum(-1)


def divides_by_all_mass(m, sinks):
    return (m * sinks * _place(m)).sum(-1) / m.sum(-1)


def divides_by_the_number_of_sinks(m, sinks):
    return (m * sinks * _place(m)).sum(-1) / sinks.sum(-1)


def counts_from_one(m, sinks):
    weight = m * sinks
    return (weight * (_place(m) + 1)).sum(-1) / weight.sum(-1)


def zero_for_no_sink(m, sinks):
    weight = m * sinks
    return ((weight * _place(m)).sum(-1) / weight.sum(-1)).nan_to_num(0.0)


def never_divides_by_zero(m, sinks):
    weight = m * sinks
    return (weight * _place(m)).sum(-1) / weight.sum(-1).clamp(min=1e-9)


def one_for_all_states(m, sinks):
    weight = m * sinks
    return ((weight * _place(m)).sum() / weight.sum()).expand(len(m))


def drops_states_without_a_sink(m, sinks):
    weight = m * sinks
    c = (weight * _place(m)).sum(-1) / weight.sum(-1)
    return c[~c.isnan()]


def the_strongest_sink(m, sinks):
    best = (m * sinks).argmax(-1).float()
    return best.where(sinks.any(-1), torch.nan)


def softmax_weights(m, sinks):
    weight = m.masked_fill(~sinks, float("-inf")).softmax(-1)
    return (weight * _place(m)).sum(-1)


def empties_in_place(m, sinks):
    m[~sinks] = 0
    return (m * _place(m)).sum(-1) / m.sum(-1)


MUTANTS = {
    every_sink_alike: "weigh each by its mass",
    all_positions: "whatever the other positions get",
    divides_by_all_mass: "whatever the other positions get",
    divides_by_the_number_of_sinks: "one sink, at 2",
    counts_from_one: "count from 0",
    zero_for_no_sink: "NaN",
    never_divides_by_zero: "NaN",
    one_for_all_states: "each state has its own",
    drops_states_without_a_sink: "shape",
    the_strongest_sink: "only the strongest",
    softmax_weights: "(6 * 0 + 2 * 4)",
    empties_in_place: "in place",
}


def state_by_state(m, sinks):
    out = []
    for row, marked in zip(m, sinks, strict=True):
        at = marked.nonzero()[:, 0]
        out.append((row[at] * at).sum() / row[at].sum() if len(at) else torch.tensor(float("nan")))
    return torch.stack(out)


def normalised_first(m, sinks):
    weight = torch.where(sinks, m, 0.0)
    return (weight / weight.sum(-1, keepdim=True)) @ _place(m)


def asks_for_a_sink(m, sinks):
    weight = m * sinks
    c = (weight * _place(m)).sum(-1) / weight.sum(-1).clamp(min=1e-9)
    return c.where(sinks.any(-1), torch.nan)


RIGHT = [state_by_state, normalised_first, asks_for_a_sink]
