"""One option for each block, so that the sum of the damage is least and the bytes are within a budget: exactly.

    best_l[b] = min over options o with cost_l(o) <= b of  best_(l-1)[b - cost_l(o)] + nats_l(o),   best_0[b] = 0

Decisions
* `best[b]` is the least damage with *at most* b units, so it never rises with b and the answer stands at the budget.
* Costs are whole units (bytes, or blocks of bytes rounded up: a plan that fits in rounded units fits in real ones).
* It minimises the sum of the table. That a model of several options is as damaged as their sum is an assumption, and
  a separate measurement (`additivity`).

Source: Bellman, Dynamic Programming (1957), the knapsack with one item from every group; notebook 06, exercise 6.2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def knapsack_step(best: Tensor, costs: Sequence[int], nats: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Add one block to the table of the least damage: for every number of units, its best option.

        out[b] = min over o with costs[o] <= b of best[b - costs[o]] + nats[o]

    Where nothing fits, out is inf and the choice -1. Of equal sums the first option is chosen.
    Shapes: best (B + 1,) float64, never rising, inf where the blocks before do not fit; costs, nats (O,) -> out
    (B + 1,) float64, choice (B + 1,) int64. `best` is not changed.

    >>> step = knapsack_step(torch.zeros(4, dtype=torch.float64), costs=[3, 1], nats=[0.0, 5.0])
    >>> step[0].tolist(), step[1].tolist()
    ([inf, 5.0, 5.0, 0.0], [-1, 1, 1, 0])
    """
    out = torch.full_like(best, torch.inf)
    choice = torch.full(best.shape, -1)
    for o, (cost, damage) in enumerate(zip(costs, nats, strict=True)):
        reached = torch.full_like(best, torch.inf)
        reached[cost:] = best[: max(len(best) - cost, 0)] + damage
        choice[reached < out] = o
        out = torch.minimum(out, reached)
    return out, choice


def knapsack(costs: Sequence[Sequence[int]], nats: Sequence[Sequence[float]], budget: int) -> list[int]:
    """Choose one option for each block, at most `budget` units in all, with the least sum of nats.

    Raises `ValueError` that says by how much the budget is missed when even the cheapest options do not fit.

    >>> knapsack([[4, 1], [4, 1]], [[0.0, 3.0], [0.0, 1.0]], budget=5)
    [0, 1]
    """
    least = sum(map(min, costs))
    if least > budget:
        missed = f"{least - budget:,} more than the budget {budget:,}"
        raise ValueError(f"the smallest model takes {least:,} units, {missed}")
    best, choices = torch.zeros(budget + 1, dtype=torch.float64), []
    for block_costs, block_nats in zip(costs, nats, strict=True):
        best, choice = knapsack_step(best, block_costs, block_nats)
        choices.append(choice)
    left, plan = budget, []
    for block_costs, choice in zip(reversed(costs), reversed(choices), strict=True):
        plan.append(int(choice[left]))
        left -= block_costs[plan[-1]]
    return plan[::-1]
