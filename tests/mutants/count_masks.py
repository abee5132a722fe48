"""Answers to exercise 2.4."""

import math

import torch


def _grid(maskable, draws, generator):
    u = torch.rand(len(maskable), 1, generator=generator, dtype=torch.float64)
    return (u + torch.arange(draws) / draws) % 1


def _choose(maskable, count, generator):
    keys = torch.rand(*count.shape, maskable.shape[1], generator=generator).masked_fill(~maskable[:, None], math.inf)
    return keys.argsort(-1).argsort(-1) < count[..., None]


def _n(maskable):
    return maskable.sum(1, keepdim=True)


def _finish(maskable, count, generator):
    return _choose(maskable, count, generator), _n(maskable) / count.double()


def weight_upside_down(maskable, *, draws, generator):
    count = (_grid(maskable, draws, generator) * _n(maskable)).long() + 1
    return _choose(maskable, count, generator), count.double() / _n(maskable)


def weight_by_length(maskable, *, draws, generator):
    count = (_grid(maskable, draws, generator) * _n(maskable)).long() + 1
    return _choose(maskable, count, generator), maskable.shape[1] / count.double()


def weight_by_the_grid(maskable, *, draws, generator):
    g = _grid(maskable, draws, generator)
    return _choose(maskable, (g * _n(maskable)).long() + 1, generator), 1 / g


def from_zero(maskable, *, draws, generator):
    count = (_grid(maskable, draws, generator) * _n(maskable)).long()
    return _choose(maskable, count, generator), _n(maskable) / count.clamp(min=1).double()


def never_all(maskable, *, draws, generator):
    return _finish(maskable, (_grid(maskable, draws, generator) * (_n(maskable) - 1)).long() + 1, generator)


def counts_of_the_whole_row(maskable, *, draws, generator):
    count = (_grid(maskable, draws, generator) * maskable.shape[1]).long() + 1
    return _finish(maskable, torch.minimum(count, _n(maskable)), generator)


def masks_anything(maskable, *, draws, generator):
    return _finish(torch.ones_like(maskable), (_grid(maskable, draws, generator) * 7).long() + 1, generator)


def independent_counts(maskable, *, draws, generator):
    u = torch.rand(len(maskable), draws, generator=generator, dtype=torch.float64)
    return _finish(maskable, (u * _n(maskable)).long() + 1, generator)


def no_shift(maskable, *, draws, generator):
    grid = (torch.arange(draws, dtype=torch.float64) / draws).expand(len(maskable), draws)
    return _finish(maskable, (grid * _n(maskable)).long() + 1, generator)


def one_shift_for_the_batch(maskable, *, draws, generator):
    u = torch.rand((), generator=generator, dtype=torch.float64)
    grid = ((u + torch.arange(draws) / draws) % 1).expand(len(maskable), draws)
    return _finish(maskable, (grid * _n(maskable)).long() + 1, generator)


def always_the_first(maskable, *, draws, generator):
    count = (_grid(maskable, draws, generator) * _n(maskable)).long() + 1
    return (maskable.cumsum(1)[:, None] <= count[..., None]) & maskable[:, None], _n(maskable) / count.double()


def one_order_for_all_draws(maskable, *, draws, generator):
    count = (_grid(maskable, draws, generator) * _n(maskable)).long() + 1
    keys = torch.rand(maskable.shape, generator=generator).masked_fill(~maskable, math.inf)
    return keys.argsort(-1).argsort(-1)[:, None] < count[..., None], _n(maskable) / count.double()


def one_window(maskable, *, draws, generator):
    count = (_grid(maskable, draws, generator) * _n(maskable)).long() + 1
    place = maskable.cumsum(1) - 1  # (B, L)
    start = (torch.rand(count.shape, generator=generator) * _n(maskable)).long()[..., None]
    inside = (place[:, None] - start) % _n(maskable)[..., None] < count[..., None]
    return inside & maskable[:, None], _n(maskable) / count.double()


def by_independent_coins(maskable, *, draws, generator):
    g = _grid(maskable, draws, generator)
    masked = (torch.rand(*g.shape, maskable.shape[1], generator=generator) < g[..., None]) & maskable[:, None]
    return masked, 1 / g


def ignores_the_generator(maskable, *, draws, generator):
    return _finish(maskable, (_grid(maskable, draws, None) * _n(maskable)).long() + 1, None)


def same_sets_in_every_row(maskable, *, draws, generator):
    state = generator.get_state()
    rows = []
    for row in maskable:
        generator.set_state(state)
        rows.append(_finish(row[None], (_grid(row[None], draws, generator) * row.sum()).long() + 1, generator))
    return torch.cat([m for m, _ in rows]), torch.cat([w for _, w in rows])


def at_most_sixteen(maskable, *, draws, generator):
    count = ((_grid(maskable, draws, generator) * _n(maskable)).long() + 1).clamp(max=16)
    return _finish(maskable, count, generator)


def clips_the_weight(maskable, *, draws, generator):
    masked, weight = _finish(maskable, (_grid(maskable, draws, generator) * _n(maskable)).long() + 1, generator)
    return masked, weight.clamp(max=10.0)


MUTANTS = {
    weight_upside_down: "l / n, it should be n / l",
    weight_by_length: "L / l",
    weight_by_the_grid: "should be n / l",
    from_zero: "not from 0",
    never_all: "no draw masks all",
    counts_of_the_whole_row: "equally often",
    masks_anything: "not maskable",
    independent_counts: "even grid",
    no_shift: "same few counts",
    one_shift_for_the_batch: "share the shift",
    always_the_first: "a random set",
    one_order_for_all_draws: "a random set",
    one_window: "equally likely",
    by_independent_coins: "mask nothing",
    ignores_the_generator: "global generator",
    same_sets_in_every_row: "share their masks",
    at_most_sixteen: "even grid",
    clips_the_weight: "n / l",
}


def row_by_row(maskable, *, draws, generator):
    masked = torch.zeros(len(maskable), draws, maskable.shape[1], dtype=torch.bool)
    weight = torch.zeros(len(maskable), draws, dtype=torch.float64)
    for b, row in enumerate(maskable):
        places, u = row.nonzero()[:, 0], float(torch.rand((), generator=generator, dtype=torch.float64))
        for d in range(draws):
            size = int(len(places) * ((u + d / draws) % 1)) + 1
            masked[b, d, places[torch.randperm(len(places), generator=generator)[:size]]] = True
            weight[b, d] = len(places) / size
    return masked, weight


def by_a_threshold_key(maskable, *, draws, generator):
    count = (_grid(maskable, draws, generator) * _n(maskable)).long() + 1
    keys = torch.rand(*count.shape, maskable.shape[1], generator=generator, dtype=torch.float64) + ~maskable[:, None]
    limit = keys.sort(-1).values.gather(-1, count[..., None] - 1)
    return keys <= limit, _n(maskable) / count.double()


RIGHT = [row_by_row, by_a_threshold_key]
