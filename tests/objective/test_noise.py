"""The forward process hides a share t of the tokens; the loss and the estimators give the bound that enumeration gives.

Numbers in brackets are the invariants of the contract (reference/sampling-methods.md, section 7).
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from dlmlab.objective.noise import (
    ENUMERABLE,
    EPS,
    bound_by_count,
    bound_by_enumeration,
    bound_by_time,
    count_masks,
    diffusion_loss,
    every_mask,
    forward_process,
    low_discrepancy_times,
    masked_losses,
    time_masks,
)
from tests.mocks import CountingDenoiser, ModelOf, RandomDenoiser, UniformDenoiser
from tests.tiny import one_thread, tiny_ids, tiny_model  # noqa: F401

MASK = 0
V = 11
FREE = torch.tensor([[0, 1, 1, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0, 1]], dtype=torch.bool)  # 5 and 3 maskable tokens
X0 = torch.randint(1, V, FREE.shape, generator=torch.Generator().manual_seed(3))
MODEL = RandomDenoiser(V)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_time_is_the_share_of_masked_tokens():
    t = torch.tensor([0.1, 0.35, 0.5, 0.8])
    L = 20_000
    _, masked = forward_process(torch.ones(4, L, dtype=torch.long), t, MASK, generator=generator())
    five_sigma = 5 * (t * (1 - t) / L).sqrt()  # a binomial count leaves five sigma once in 1.7 million draws
    assert bool(((masked.float().mean(1) - t).abs() < five_sigma).all())


def test_tokens_of_a_row_are_masked_independently():
    _, masked = forward_process(
        torch.ones(20_000, 2, dtype=torch.long), torch.full((20_000,), 0.5), MASK, generator=generator()
    )
    agree = (masked[:, 0] == masked[:, 1]).float().mean()
    assert abs(agree - 0.5) < 5 * 0.5 / 20_000**0.5


def test_time_0_hides_nothing_and_time_1_everything():
    x0 = torch.arange(1, 2001).view(2, 1000)
    xt, masked = forward_process(x0, torch.tensor([0.0, 1.0]), MASK, generator=generator())
    assert torch.equal(xt[0], x0[0]) and not masked[0].any()
    assert bool((xt[1] == MASK).all()) and masked[1].all()


def test_masked_says_where_the_mask_token_was_written_and_the_rest_is_clean():
    x0 = torch.arange(1, 201).view(4, 50)
    before = x0.clone()
    xt, masked = forward_process(x0, torch.full((4,), 0.5), MASK, generator=generator())
    assert torch.equal(masked, xt == MASK) and torch.equal(xt[~masked], x0[~masked])
    assert torch.equal(x0, before)


@pytest.mark.parametrize("ruled_out", [[MASK], [MASK, 1, 2]])
def test_the_loss_has_finite_gradients_when_a_visible_token_is_ruled_out(ruled_out):
    x0 = torch.randint(3, V, (3, 5), generator=generator())
    x0[1], x0[2, 0] = 1, MASK  # a row of tokens that may be ruled out, and one token that no model may predict
    masked = torch.tensor([[1, 0, 1, 0, 0], [0] * 5, [0, 1, 1, 1, 1]], dtype=torch.bool)
    logits = torch.randn(3, 5, V, generator=generator(1))
    logits[..., ruled_out] = -math.inf
    logits.requires_grad_()
    loss = diffusion_loss(logits, x0, masked, torch.tensor([EPS, 0.0, 1.0]))
    loss.backward()
    assert bool(loss.isfinite()) and bool(logits.grad.isfinite().all())
    assert not logits.grad[~masked].any() and logits.grad[masked].any()


def test_protected_positions_are_never_masked():
    maskable = torch.arange(50).expand(4, 50) % 3 == 0
    x0 = torch.ones(4, 50, dtype=torch.long)
    _, masked = forward_process(x0, torch.ones(4), MASK, maskable=maskable, generator=generator())
    assert torch.equal(masked, maskable)


def test_the_generator_alone_decides():
    x0, t = torch.ones(4, 50, dtype=torch.long), torch.full((4,), 0.5)
    state = torch.get_rng_state()
    first, again, other = (forward_process(x0, t, MASK, generator=generator(s))[0] for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(
        low_discrepancy_times(8, generator=generator(1)), low_discrepancy_times(8, generator=generator(1))
    )
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("t", [[-0.1, 0.5], [0.5, 1.1], [float("nan"), 0.5]])
def test_a_time_outside_0_to_1_is_refused(t):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        forward_process(torch.ones(2, 3, dtype=torch.long), torch.tensor(t), MASK, generator=generator())


@pytest.mark.parametrize("B", [1, 2, 7, 64])
def test_low_discrepancy_times_visit_each_bin_once(B):
    for seed in range(20):
        t = low_discrepancy_times(B, generator=generator(seed)).double()
        assert t.shape == (B,) and bool((t >= EPS).all() and (t <= 1).all())
        bins = ((t - EPS) / (1 - EPS) * B).floor().long()
        assert sorted(bins.tolist()) == list(range(B))


def test_each_low_discrepancy_time_alone_is_uniform():
    g = generator()
    first = torch.stack([low_discrepancy_times(4, generator=g)[0] for _ in range(4000)]).sort().values
    grid = torch.linspace(EPS, 1, 4000)
    assert (first - grid).abs().max() < 1.95 / 4000**0.5  # Kolmogorov-Smirnov bound, p = 0.001


# ------------------------------------------------------------------------------------------------ the loss


def test_the_loss_is_the_cross_entropy_at_masks_over_t_and_all_tokens():
    logits = torch.randn(2, 3, 5, generator=generator())
    x0, t = torch.tensor([[1, 2, 3], [4, 0, 1]]), torch.tensor([0.25, 0.5])
    masked = torch.tensor([[True, False, False], [False, True, True]])
    log_p = logits.log_softmax(-1)
    expected = -(log_p[0, 0, 1] / 0.25 + (log_p[1, 1, 0] + log_p[1, 2, 1]) / 0.5) / 6
    torch.testing.assert_close(diffusion_loss(logits, x0, masked, t), expected)


def test_a_row_without_masks_adds_nothing_even_at_time_0():
    logits, x0 = torch.randn(2, 3, 5, generator=generator(), requires_grad=True), torch.zeros(2, 3, dtype=torch.long)
    masked = torch.tensor([[False] * 3, [True] * 3])
    loss = diffusion_loss(logits, x0, masked, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(loss, -logits[1].log_softmax(-1)[:, 0].sum() / 6)
    loss.backward()
    assert bool(logits.grad.isfinite().all()) and not logits.grad[0].any()
    assert diffusion_loss(logits, x0, torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2)).item() == 0


def test_the_mean_loss_is_the_bound_by_enumeration_per_token():
    x0, L = X0[:1], X0.shape[1]
    exact = float(bound_by_enumeration(MODEL, x0, torch.ones_like(x0, dtype=torch.bool), mask_id=MASK)[0]) / L
    B, g = 40_000, generator()
    t = low_discrepancy_times(B, generator=g)
    xt, masked = forward_process(x0.expand(B, L), t, MASK, generator=g)
    logits = MODEL(xt)
    logits[..., MASK] = -math.inf
    assert float(diffusion_loss(logits, x0.expand(B, L), masked, t)) == pytest.approx(exact, rel=0.03)


# ------------------------------------------------------------------------------------------------ bounds


def literal_bound(x0, free):
    """The bound written as nested sums: over sizes l, then over sets of l places (LLaDA, equation 6)."""
    places, total = free.nonzero()[:, 0].tolist(), 0.0
    n = len(places)
    for size in range(1, n + 1):
        sums = []
        for chosen in itertools.combinations(places, size):
            xt = x0.clone()
            xt[list(chosen)] = MASK
            logits = MODEL(xt[None])[0]
            logits[:, MASK] = -math.inf
            log_p = logits.log_softmax(-1)
            sums.append(-sum(float(log_p[i, x0[i]]) for i in chosen))
        total += n / size * sum(sums) / len(sums)
    return total / n


def test_enumeration_is_the_nested_sum_of_the_paper():
    ours = bound_by_enumeration(MODEL, X0, FREE, mask_id=MASK)
    assert ours.tolist() == pytest.approx([literal_bound(x, f) for x, f in zip(X0, FREE, strict=True)], rel=1e-6)


def test_the_weights_of_all_masks_give_every_token_one_loss():
    # A constant loss c per token must give n c: each size 1/n, each set alike, n / l times l c.
    masked, weight = every_mask(FREE[0])
    assert len({tuple(m) for m in masked.tolist()}) == 2**5 - 1
    assert not masked[:, ~FREE[0]].any()
    assert float((weight * masked.sum(-1)).sum()) == pytest.approx(5)


@pytest.mark.parametrize("estimate", [bound_by_count, bound_by_time])
def test_estimators_are_unbiased_for_the_enumerated_bound(estimate):  # invariant 12
    draws, exact = 20_000, bound_by_enumeration(MODEL, X0, FREE, mask_id=MASK)
    values = estimate(MODEL, X0, FREE, draws=draws, generator=generator(), mask_id=MASK, batch_size=4096)
    assert values.shape == (2, draws)
    five_sigma = 5 * values.std(1) / draws**0.5  # stratified draws vary less: the limit is generous
    bias = 2 * EPS * exact if estimate is bound_by_time else 0
    assert bool(((values.mean(1) - exact).abs() < five_sigma + bias).all())


def test_a_uniform_model_costs_log_v_per_token_by_count_at_every_draw():
    values = bound_by_count(UniformDenoiser(V), X0, FREE, draws=50, generator=generator(), mask_id=MASK)
    expected = FREE.sum(1, keepdim=True) * math.log(V - 1)  # the mask is ruled out
    torch.testing.assert_close(values, expected.expand(2, 50).double(), rtol=1e-6, atol=0)


def test_counts_give_less_variance_than_times():
    draws, options = 4000, {"mask_id": MASK, "batch_size": 4096}
    by_count = bound_by_count(MODEL, X0, FREE, draws=draws, generator=generator(), **options)
    by_time = bound_by_time(MODEL, X0, FREE, draws=draws, generator=generator(), **options)
    assert bool((by_count.var(1) < 0.5 * by_time.var(1)).all())


def test_the_grid_of_counts_gives_less_variance_than_independent_counts():
    draws, runs = 10, 2000
    x0, free = X0[:1].expand(runs, -1), FREE[:1].expand(runs, -1)  # every row shifts its own grid

    class Steep:  # the loss depends on the number of masks alone: all variance is that of the count
        def __call__(self, ids, valid=None):
            hidden = (ids == MASK).sum(1)[:, None, None]
            return F.one_hot(X0[:1].expand(ids.shape), V) * -1.0 * hidden

    values = bound_by_count(Steep(), x0, free, draws=draws, generator=generator(), mask_id=MASK, batch_size=4096)
    assert values.mean(1).var() < 0.1 * values.var() / draws


@pytest.mark.parametrize("estimate", [bound_by_count, bound_by_time])
def test_equal_seeds_show_every_model_the_same_masks(estimate):
    seen = []
    for model in (MODEL, UniformDenoiser(V)):
        counting = CountingDenoiser(model)
        estimate(counting, X0, FREE, draws=7, generator=generator(5), mask_id=MASK, batch_size=3)
        seen.append(torch.cat(counting.inputs))
    assert torch.equal(*seen)
    state = torch.get_rng_state()
    first, again, other = (estimate(MODEL, X0, FREE, draws=7, generator=generator(s), mask_id=MASK) for s in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_count_masks_hide_exactly_the_count_their_weight_says():
    masked, weight = count_masks(FREE, draws=200, generator=generator())
    count = masked.sum(-1)
    assert not (masked & ~FREE[:, None]).any()
    torch.testing.assert_close(weight * count, FREE.sum(1, keepdim=True).expand(2, 200).double())
    for b, n in enumerate(FREE.sum(1).tolist()):  # 200 draws of an even grid: each count its share, to one
        share = count[b].bincount(minlength=n + 1)[1:]
        assert int(share.max() - share.min()) <= 2 and len(share) == n


@pytest.mark.parametrize("even", [True, False])
def test_the_times_of_a_row_are_an_even_grid_or_independent(even):
    free = FREE.repeat(500, 1)
    masked, weight = time_masks(free, draws=4, generator=generator(), low_discrepancy=even)
    u = (1 / weight - EPS) / (1 - EPS)  # (1000, 4)
    gaps = u.sort(1).values.diff(dim=1)
    assert bool(((gaps - 1 / 4).abs() < 1e-9).all()) == even
    for column in u.T:  # each time alone is uniform: Kolmogorov and Smirnov at 1000 draws
        assert float((column.sort().values - (torch.arange(1000) + 0.5) / 1000).abs().max()) < 0.06
    share = masked.double().sum(-1) / free.sum(1, keepdim=True)
    assert float((share - 1 / weight).mean().abs()) < 0.02 and not (masked & ~free[:, None]).any()


def test_every_set_of_a_count_is_equally_likely():
    masked, _ = count_masks(FREE[:1], draws=20_000, generator=generator())
    pairs = masked[0][masked[0].sum(-1) == 2][:, FREE[0]]
    kinds = (pairs * 2 ** torch.arange(5)).sum(-1).bincount()
    kinds = kinds[kinds > 0].float()
    assert len(kinds) == 10 and bool(((kinds - kinds.mean()).abs() < 5 * kinds.mean().sqrt()).all())


def test_a_single_maskable_token_makes_the_count_estimate_exact():
    free = torch.zeros_like(FREE)
    free[:, 2] = True
    values = bound_by_count(MODEL, X0, free, draws=3, generator=generator(), mask_id=MASK)
    exact = bound_by_enumeration(MODEL, X0, free, mask_id=MASK)
    torch.testing.assert_close(values, exact[:, None].expand(2, 3))


def test_batches_do_not_change_the_result_and_empty_masks_cost_nothing():
    masked, _ = time_masks(FREE, draws=9, generator=generator())
    masked[0, :4] = False
    counting = CountingDenoiser(MODEL)
    whole, *parts = (masked_losses(counting, X0, masked, mask_id=MASK, batch_size=n) for n in (100, 2, 1))
    for part in parts:
        torch.testing.assert_close(whole, part)
    assert not whole[~masked].any()
    assert sum(counting.batches) == 3 * int(masked.any(-1).sum())


def test_left_padding_does_not_change_a_bound(one_thread):  # noqa: F811
    model, x0 = tiny_model(), tiny_ids(2, 6) % 49 + 1
    free = torch.arange(6).expand(2, 6) >= 3
    padded, pad = torch.cat([torch.full((2, 4), 7), x0], 1), torch.zeros(2, 4, dtype=torch.bool)
    valid = torch.cat([pad, ~pad[:, :1].expand(2, 6)], 1)
    plain = bound_by_enumeration(model, x0, free)
    torch.testing.assert_close(
        bound_by_enumeration(model, padded, torch.cat([pad, free], 1), valid=valid), plain, rtol=1e-4, atol=1e-4
    )


def test_a_model_with_a_config_names_its_own_mask():
    options = {"draws": 5, "generator": generator()}
    dressed = bound_by_count(ModelOf(MODEL, MASK), X0, FREE, **options)
    options["generator"] = generator()
    assert torch.equal(dressed, bound_by_count(MODEL, X0, FREE, mask_id=MASK, **options))


def test_wrong_requests_say_what_is_wrong():
    empty = FREE.clone()
    empty[1] = False
    for estimate in (bound_by_count, bound_by_time):
        with pytest.raises(ValueError, match="row 1 has none"):
            estimate(MODEL, X0, empty, draws=2, generator=generator(), mask_id=MASK)
        with pytest.raises(ValueError, match="draws=0"):
            estimate(MODEL, X0, FREE, draws=0, generator=generator(), mask_id=MASK)
        with pytest.raises(ValueError, match="mask_id is needed"):
            estimate(MODEL, X0, FREE, draws=2, generator=generator())
    with pytest.raises(ValueError, match="batch_size=0"):
        masked_losses(MODEL, X0, FREE[:, None], mask_id=MASK, batch_size=0)
    with pytest.raises(ValueError, match=r"\(B, draws, L\)"):
        masked_losses(MODEL, X0, FREE, mask_id=MASK)
    with pytest.raises(ValueError, match=rf"13 maskable tokens: 1..{ENUMERABLE}"):
        every_mask(torch.ones(13, dtype=torch.bool))
