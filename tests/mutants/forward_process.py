"""Answers to exercise 1.1."""

import torch


def _finish(x0, mask_id, masked, maskable):
    if maskable is not None:
        masked = masked & maskable
    return torch.where(masked, mask_id, x0), masked


def masks_with_one_minus_t(x0, t, mask_id, *, maskable=None, generator):
    masked = torch.rand(x0.shape, generator=generator) < 1 - t[:, None]
    return _finish(x0, mask_id, masked, maskable)


def draws_once_per_row(x0, t, mask_id, *, maskable=None, generator):
    masked = (torch.rand(len(t), 1, generator=generator) < t[:, None]).expand(x0.shape)
    return _finish(x0, mask_id, masked, maskable)


def draws_once_per_column(x0, t, mask_id, *, maskable=None, generator):
    masked = torch.rand(x0.shape[1], generator=generator) < t[:, None]
    return _finish(x0, mask_id, masked, maskable)


def one_rate_for_the_batch(x0, t, mask_id, *, maskable=None, generator):
    masked = torch.rand(x0.shape, generator=generator) < t.mean()
    return _finish(x0, mask_id, masked, maskable)


def ignores_the_generator(x0, t, mask_id, *, maskable=None, generator):
    return _finish(x0, mask_id, torch.rand(x0.shape) < t[:, None], maskable)


def seeds_a_generator_of_its_own(x0, t, mask_id, *, maskable=None, generator):
    masked = torch.rand(x0.shape, generator=torch.Generator().manual_seed(0)) < t[:, None]
    return _finish(x0, mask_id, masked, maskable)


def writes_into_x0(x0, t, mask_id, *, maskable=None, generator):
    _, masked = _finish(x0, mask_id, torch.rand(x0.shape, generator=generator) < t[:, None], maskable)
    x0[masked] = mask_id
    return x0, masked


def writes_into_maskable(x0, t, mask_id, *, maskable=None, generator):
    masked = torch.rand(x0.shape, generator=generator) < t[:, None]
    if maskable is not None:
        masked = maskable.logical_and_(masked)
    return torch.where(masked, mask_id, x0), masked


def takes_token_0_for_empty(x0, t, mask_id, *, maskable=None, generator):
    masked = (torch.rand(x0.shape, generator=generator) < t[:, None]) & (x0 != 0)
    return _finish(x0, mask_id, masked, maskable)


def takes_mask_id_0_for_none(x0, t, mask_id, *, maskable=None, generator):
    xt, masked = _finish(x0, mask_id, torch.rand(x0.shape, generator=generator) < t[:, None], maskable)
    return (xt if mask_id else x0.clone()), masked


def ignores_maskable(x0, t, mask_id, *, maskable=None, generator):
    return _finish(x0, mask_id, torch.rand(x0.shape, generator=generator) < t[:, None], None)


def ignores_maskable_in_masked(x0, t, mask_id, *, maskable=None, generator):
    masked = torch.rand(x0.shape, generator=generator) < t[:, None]
    return _finish(x0, mask_id, masked, maskable)[0], masked


def spends_the_rate_of_the_row_on_maskable(x0, t, mask_id, *, maskable=None, generator):
    share = 1 if maskable is None else maskable.float().mean(1, keepdim=True)
    masked = torch.rand(x0.shape, generator=generator) < (t[:, None] / share).clamp(max=1)
    return _finish(x0, mask_id, masked, maskable)


def masks_an_exact_count(x0, t, mask_id, *, maskable=None, generator):
    rank = torch.rand(x0.shape, generator=generator).argsort(-1).argsort(-1)
    return _finish(x0, mask_id, rank < (t[:, None] * x0.shape[1]).round(), maskable)


def returns_what_is_visible(x0, t, mask_id, *, maskable=None, generator):
    xt, masked = _finish(x0, mask_id, torch.rand(x0.shape, generator=generator) < t[:, None], maskable)
    return xt, ~masked


def hides_what_should_stay(x0, t, mask_id, *, maskable=None, generator):
    _, masked = _finish(x0, mask_id, torch.rand(x0.shape, generator=generator) < t[:, None], maskable)
    return torch.where(masked, x0, mask_id), masked


def never_quite_clean(x0, t, mask_id, *, maskable=None, generator):
    masked = torch.rand(x0.shape, generator=generator) < t[:, None].clamp(min=0.01)
    return _finish(x0, mask_id, masked, maskable)


def never_quite_full(x0, t, mask_id, *, maskable=None, generator):
    masked = torch.rand(x0.shape, generator=generator) < t[:, None].clamp(max=0.99)
    return _finish(x0, mask_id, masked, maskable)


def another_schedule(x0, t, mask_id, *, maskable=None, generator):
    masked = torch.rand(x0.shape, generator=generator) < torch.sin(torch.pi / 2 * t[:, None]) ** 2
    return _finish(x0, mask_id, masked, maskable)


def hides_more_than_it_says(x0, t, mask_id, *, maskable=None, generator):
    drawn = torch.rand(x0.shape, generator=generator) < t[:, None]
    return torch.where(drawn, mask_id, x0), drawn if maskable is None else drawn & maskable


def returns_nothing(x0, t, mask_id, *, maskable=None, generator):
    _finish(x0, mask_id, torch.rand(x0.shape, generator=generator) < t[:, None], maskable)


def returns_xt_only(x0, t, mask_id, *, maskable=None, generator):
    return _finish(x0, mask_id, torch.rand(x0.shape, generator=generator) < t[:, None], maskable)[0]


def one_draw_for_two_neighbours(x0, t, mask_id, *, maskable=None, generator):
    B, L = x0.shape
    draws = torch.rand(B, (L + 1) // 2, generator=generator).repeat_interleave(2, 1)[:, :L]
    return _finish(x0, mask_id, draws < t[:, None], maskable)


def masks_neighbours_in_turn(x0, t, mask_id, *, maskable=None, generator):
    B, L = x0.shape
    draws = (torch.rand(B, 1, generator=generator) + torch.arange(L) * 0.61803398875) % 1  # an even grid over places
    return _finish(x0, mask_id, draws < t[:, None], maskable)


def rounds_the_time(x0, t, mask_id, *, maskable=None, generator):
    masked = torch.rand(x0.shape, generator=generator) < (t[:, None] * 10).floor() / 10
    return _finish(x0, mask_id, masked, maskable)


def never_hides_rare_ids(x0, t, mask_id, *, maskable=None, generator):
    xt, masked = _finish(x0, mask_id, torch.rand(x0.shape, generator=generator) < t[:, None], maskable)
    return torch.where(x0 > 40, x0, xt), masked


MUTANTS = {
    masks_with_one_minus_t: "1 - t",
    draws_once_per_row: "whole row",
    draws_once_per_column: "share their draws",
    one_rate_for_the_batch: "whole batch",
    ignores_the_generator: "generator",
    seeds_a_generator_of_its_own: "generator is not used",
    writes_into_x0: "x0 was changed in place",
    writes_into_maskable: "maskable was changed in place",
    takes_token_0_for_empty: "token id 0",
    takes_mask_id_0_for_none: "mask_id = 0",
    ignores_maskable: "maskable is ignored",
    ignores_maskable_in_masked: "maskable is ignored",
    spends_the_rate_of_the_row_on_maskable: "among the maskable tokens",
    masks_an_exact_count: "exactly t * L",
    returns_what_is_visible: "1 - t",
    hides_what_should_stay: "does not hold mask_id",
    never_quite_clean: "t = 0 must stay clean",
    never_quite_full: "t = 1 must be masked everywhere",
    another_schedule: "not near t",
    hides_more_than_it_says: "visible tokens must stay",
    returns_nothing: "return statement",
    returns_xt_only: "return two tensors",
    one_draw_for_two_neighbours: "together",
    masks_neighbours_in_turn: "exactly t * L",
    rounds_the_time: "tokens masked",
    never_hides_rare_ids: "does not hold mask_id",
}


def with_bernoulli(x0, t, mask_id, *, maskable=None, generator):
    p = t[:, None].expand(x0.shape) * (1 if maskable is None else maskable)
    masked = torch.bernoulli(p, generator=generator).bool()
    xt = x0.clone()
    xt[masked] = mask_id
    return xt, masked


def row_by_row(x0, t, mask_id, *, maskable=None, generator):
    masked = torch.zeros(x0.shape, dtype=torch.bool)
    for b, rate in enumerate(t.tolist()):
        masked[b] = torch.rand(x0.shape[1], generator=generator, dtype=torch.float64) < rate
    return _finish(x0, mask_id, masked, maskable)


def keeps_with_alpha(x0, t, mask_id, *, maskable=None, generator):
    keep = torch.rand(x0.shape, generator=generator) >= t[:, None]
    return _finish(x0, mask_id, ~keep, maskable)


RIGHT = [with_bernoulli, row_by_row, keeps_with_alpha]
