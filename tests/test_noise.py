"""The forward process: time is the share of hidden tokens, and nothing else about a row changes."""

import pytest
import torch

from dlmlab.noise import EPS, forward_process, low_discrepancy_times

MASK = 0


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
