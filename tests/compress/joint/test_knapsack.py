"""The knapsack: as good as trying everything, within the budget, and it says by how much a budget is missed."""

import itertools

import pytest
import torch

from dlmlab.compress.joint.knapsack import knapsack, knapsack_step


def everything(costs, nats, budget):
    """Try every plan: the least sum of nats within the budget."""
    sums = []
    for plan in itertools.product(*(range(len(c)) for c in costs)):
        if sum(c[o] for c, o in zip(costs, plan, strict=True)) <= budget:
            sums.append(sum(n[o] for n, o in zip(nats, plan, strict=True)))
    return min(sums)


@pytest.mark.parametrize("seed", range(8))
def test_the_plan_is_as_good_as_the_best_of_all(seed):
    draw = torch.Generator().manual_seed(seed)
    costs = torch.randint(1, 12, (5, 4), generator=draw).tolist()
    nats = torch.rand(5, 4, generator=draw, dtype=torch.float64).tolist()
    least = sum(map(min, costs))
    for budget in (least, least + 5, least + 100):
        plan = knapsack(costs, nats, budget)
        assert sum(c[o] for c, o in zip(costs, plan, strict=True)) <= budget
        total = sum(n[o] for n, o in zip(nats, plan, strict=True))
        assert total == pytest.approx(everything(costs, nats, budget))


def test_a_budget_that_cannot_be_met_says_how_much_is_missing():
    with pytest.raises(ValueError, match="takes 7 units, 2 more than the budget 5"):
        knapsack([[4, 9], [3]], [[0.0, 1.0], [0.0]], 5)


def test_a_step_leaves_the_table_before_it_alone_and_marks_what_does_not_fit():
    best = torch.tensor([torch.inf, 1.0, 0.5], dtype=torch.float64)
    kept = best.clone()
    out, choice = knapsack_step(best, [5, 1], [0.0, 2.0])
    assert torch.equal(best, kept)
    assert out.tolist() == [torch.inf, torch.inf, 3.0] and choice.tolist() == [-1, -1, 1]
