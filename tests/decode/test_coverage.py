"""The best distribution for K draws: certified by its slopes, and against numbers worked by hand."""

import pytest
import torch

from dlmlab.decode import coverage
from dlmlab.decode.simplex import exchange_gain

P = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)


def drawn(*shape):
    return (2 * torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).softmax(-1)


def test_coverage_is_the_chance_that_k_draws_hit():
    q, hits, g = torch.tensor([0.6, 0.3, 0.1]), 0, torch.Generator().manual_seed(0)
    p = torch.tensor([0.2, 0.3, 0.5])
    truth = torch.multinomial(p, 20_000, replacement=True, generator=g)
    draws = torch.multinomial(q, 60_000, replacement=True, generator=g).view(-1, 3)
    hits = float((draws == truth[:, None]).any(1).float().mean())
    assert abs(hits - float(coverage.coverage(q, p, 3))) < 0.015


@pytest.mark.parametrize("K", [2, 3, 8, 64])
@pytest.mark.parametrize("V", [2, 5, 40])
def test_no_move_of_probability_improves_on_water_filling(K, V):
    for p in drawn(6, V):
        q = coverage.water_filling(p, K)
        assert abs(float(q.sum()) - 1) < 1e-9
        used = torch.where(q > 1e-9, q, 0.0)
        assert exchange_gain(used, coverage.slope(q, p, K)) < 1e-6


@pytest.mark.parametrize("K", [1, 2, 4, 16])
@pytest.mark.parametrize("anchor", [0.05, 0.1, 1.0])
def test_the_anchored_optimum_is_certified_too(K, anchor):
    for p in drawn(4, 6):
        q = coverage.best_of_k(p, K, anchor=anchor)
        assert exchange_gain(q, coverage.slope(q, p, K, anchor=anchor)) < 1e-5


def test_golden_values():
    """Reference: the closed form for two draws by hand, the others by an independent bisection."""
    wanted = {
        2: [0.625, 0.375, 0, 0],
        4: [0.456438, 0.355536, 0.188026, 0],
        32: [0.274192, 0.262132, 0.245448, 0.218228],
    }
    for K, q in wanted.items():
        assert torch.allclose(coverage.water_filling(P, K), torch.tensor(q).double(), atol=1e-5)
    q = coverage.best_of_k(P, 4, anchor=0.1)
    assert torch.allclose(q, torch.tensor([0.462210, 0.347353, 0.176427, 0.014010]).double(), atol=1e-5)


def test_limits_are_greedy_and_uniform():
    assert coverage.water_filling(P, 1).tolist() == [1, 0, 0, 0]
    assert torch.allclose(coverage.water_filling(P, 100_000), torch.full((4,), 0.25).double(), atol=1e-3)
    assert torch.allclose(coverage.best_of_k(P, 3, anchor=1e4), P, atol=1e-3)


def test_what_p_rules_out_stays_out():
    p = torch.tensor([0.7, 0.0, 0.3])
    for q in (coverage.water_filling(p, 50), coverage.best_of_k(p, 50, anchor=0.1)):
        assert q[1] == 0 and abs(float(q.sum()) - 1) < 1e-6 and q.dtype == p.dtype


def test_mirror_ascent_arrives_with_a_small_step_and_cycles_with_a_large_one():
    exact, ends = coverage.best_of_k(P, 2, anchor=0.05), {}
    for step in (0.2, 20.0):
        q = P
        for _ in range(2000):
            q = coverage.mirror_step(q, P, 2, anchor=0.05, step=step)
        ends[step] = float((q - exact).abs().max())
    assert ends[0.2] < 1e-6 < 1e-2 < ends[20.0]


def test_what_means_nothing_is_refused():
    with pytest.raises(ValueError, match="anchor"):
        coverage.best_of_k(P, 2, anchor=0)
    with pytest.raises(ValueError, match="K=0"):
        coverage.water_filling(P, 0)
