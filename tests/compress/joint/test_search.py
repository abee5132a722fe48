"""Greedy, knapsack and random choices against the enumerated optimum of the proxy."""

import numpy as np
import pytest

from dlmlab.compress.joint import search
from tests.compress.cases import seeded


def tables(seed: int, places: int = 4, options: int = 4):
    rng = np.random.default_rng(seed)
    sizes = np.sort(rng.integers(1, 40, (places, options)), axis=1)[:, ::-1] * 512
    nats = np.sort(rng.exponential(size=(places, options)), axis=1)
    return nats.tolist(), sizes.tolist()


def optimum(nats, sizes, budget):
    allowed = (c for c in search.every_choice([len(row) for row in nats]) if search.size_of(c, sizes) <= budget)
    return min(search.proxy(c, nats) for c in allowed)


@pytest.mark.parametrize("seed", range(8))
def test_the_knapsack_finds_the_enumerated_optimum(seed):
    nats, sizes = tables(seed)
    least, most = (sum(f(row) for row in sizes) for f in (min, max))
    for budget in (least, (least + most) / 2, most + 1):
        choice = search.knapsack(nats, sizes, budget)
        assert search.size_of(choice, sizes) <= budget
        assert search.proxy(choice, nats) == pytest.approx(optimum(nats, sizes, budget))


@pytest.mark.parametrize("seed", range(4))
def test_coarse_units_never_exceed_the_budget(seed):
    nats, sizes = tables(seed)
    budget = 0.6 * sum(map(max, sizes))
    choice = search.knapsack(nats, [[s + 7 for s in row] for row in sizes], budget, unit=100)
    assert search.size_of(choice, sizes) + 28 <= budget


def test_greedy_meets_the_budget_and_is_not_always_best():
    gaps = []
    for seed in range(20):
        nats, sizes = tables(seed)
        budget = (sum(map(min, sizes)) + sum(map(max, sizes))) / 2
        choice = search.greedy(nats, sizes, budget)
        assert search.size_of(choice, sizes) <= budget
        gaps.append(search.proxy(choice, nats) - optimum(nats, sizes, budget))
    assert min(gaps) > -1e-9 and max(gaps) > 0.01


def test_greedy_with_room_for_all_takes_the_best_of_each():
    nats, sizes = tables(0)
    assert search.greedy(nats, sizes, 10**9) == tuple(row.index(min(row)) for row in nats)


@pytest.mark.parametrize("method", [search.greedy, search.knapsack])
def test_an_impossible_budget_is_told(method):
    nats, sizes = tables(0)
    least = sum(map(min, sizes))
    with pytest.raises(ValueError, match=f"at most {least - 1:,} bytes is impossible: .* {least:,}"):
        method(nats, sizes, least - 1)
    with pytest.raises(ValueError, match="one row a place"):
        method(nats, sizes[:-1], 10**9)


def test_one_step_of_the_knapsack():
    new, chosen = search.knapsack_step(np.array([0.0, 0, 0, 0]), [5.0, 1.0], [1, 3])
    assert new.tolist() == [np.inf, 5, 5, 1] and chosen.tolist() == [-1, 0, 0, 1]
    new, chosen = search.knapsack_step(new, [0.0, 0.0, 0.0], [0, 0, 9])
    assert new.tolist() == [np.inf, 5, 5, 1] and chosen.tolist() == [-1, 0, 0, 0]


def test_rounding_that_leaves_no_room_is_told():
    with pytest.raises(ValueError, match="take smaller units"):
        search.knapsack([[0.0], [0.0]], [[100], [100]], 210, unit=150)


def test_random_choices_come_from_the_seed():
    one, two = (search.random_choices([3, 4], 50, seeded(0)) for _ in range(2))
    assert one == two and {a for a, _ in one} == set(range(3)) and {b for _, b in one} == set(range(4))


def test_the_best_evaluated_choices_meet_the_budget():
    sizes = [[10, 1], [10, 1]]
    points = [((0, 0), 0.1), ((0, 1), 0.4), ((1, 0), 0.3), ((1, 1), 0.9), ((1, 0), 0.3)]
    assert search.best_under(points, sizes, 15, count=3) == [(1, 0), (0, 1), (1, 1)]
    with pytest.raises(ValueError, match="none of 5"):
        search.best_under(points, sizes, 1)
