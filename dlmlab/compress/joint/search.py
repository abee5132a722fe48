"""Choose an option for every place under a budget of bytes, from a table of what each option costs alone.

    minimize  sum over places of nats[place][option]    so that  sum of bytes[place][option] <= budget

The sum is a proxy: options may hurt more, or less, together than apart (`additivity`). Greedy and knapsack minimize
the proxy, the second exactly; random search and `trials` ask the true model. All get the same number of evaluations: a
table of P places with K options has cost P K of them.

A choice is a tuple of option indices, one a place. Sources: Martello and Toth 1990 (multiple-choice knapsack);
EvoPress, arXiv 2410.14649 (why the proxy needs a test).
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch

Rows = Sequence[Sequence[float]]  # (P, K): one row a place, one column an option


def check_table(nats: Rows, sizes: Rows, budget: float) -> None:
    """Raise `ValueError` for tables of unequal shape, and for a budget below the smallest choice."""
    shapes = {tuple(map(len, table)) for table in (nats, sizes)}
    if len(shapes) != 1 or not all(next(iter(shapes))):
        raise ValueError(f"nats and bytes must have one row a place and the same options, got {shapes}")
    least = sum(map(min, sizes))
    if least > budget:
        raise ValueError(f"at most {budget:,.0f} bytes is impossible: the smallest choice has {least:,.0f}")


def greedy(nats: Rows, sizes: Rows, budget: float) -> tuple[int, ...]:
    """Start from the best option of every place; take the move with the least loss a byte until the budget is met.

    Raises `ValueError` as `check_table`.
    """
    check_table(nats, sizes, budget)
    choice = [min(range(len(row)), key=row.__getitem__) for row in nats]
    while sum(size[i] for size, i in zip(sizes, choice, strict=True)) > budget:
        moves = [
            ((nats[p][o] - nats[p][i]) / (sizes[p][i] - sizes[p][o]), p, o)
            for p, i in enumerate(choice)
            for o in range(len(nats[p]))
            if sizes[p][o] < sizes[p][i]
        ]
        _, place, option = min(moves)
        choice[place] = option
    return tuple(choice)


def knapsack_step(best: np.ndarray, nats: Sequence[float], sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Add one place to the table of the dynamic program.

        new[b] = min over options o with sizes[o] <= b of  best[b - sizes[o]] + nats[o]

    `best` (B + 1,): least loss of the places so far with at most b units, inf where none fits. `sizes`: whole units.
    Returns `new` (B + 1,) and the option that gives it, (B + 1,), -1 where none fits; of equal losses the first option.
    """
    new, chosen = np.full(len(best), np.inf), np.full(len(best), -1)
    for option, (loss, size) in enumerate(zip(nats, sizes, strict=True)):
        if size >= len(best):
            continue
        with_it = np.full(len(best), np.inf)
        with_it[size:] = best[: len(best) - size] + loss
        better = with_it < new
        new, chosen = np.where(better, with_it, new), np.where(better, option, chosen)
    return new, chosen


def knapsack(nats: Rows, sizes: Rows, budget: float, *, unit: int = 512) -> tuple[int, ...]:
    """Minimize the proxy by dynamic programming over bytes in units, rounded up so that the budget is never exceeded.

    Exact for sizes that are multiples of `unit`. Raises `ValueError` as `check_table`, and when rounding alone makes
    the budget impossible.
    """
    check_table(nats, sizes, budget)
    units = [[-(-int(size) // unit) for size in row] for row in sizes]
    best, history = np.zeros(int(budget // unit) + 1), []
    for loss, size in zip(nats, units, strict=True):
        best, chosen = knapsack_step(best, loss, size)
        history.append(chosen)
    if not np.isfinite(best[-1]):
        raise ValueError(f"at most {budget:,.0f} bytes is impossible in units of {unit}: take smaller units")
    left, choice = len(best) - 1, []
    for chosen, size in zip(reversed(history), reversed(units), strict=True):
        choice.append(int(chosen[left]))
        left -= size[choice[-1]]
    return tuple(reversed(choice))


def random_choices(options: Sequence[int], count: int, generator: torch.Generator) -> list[tuple[int, ...]]:
    """Draw choices uniformly: `options` options for each place."""
    draws = [torch.randint(n, (count,), generator=generator).tolist() for n in options]
    return list(zip(*draws, strict=True))


def every_choice(options: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """List all choices, the last place running fastest."""
    return itertools.product(*map(range, options))


def best_under(
    points: Sequence[tuple[tuple[int, ...], float]], sizes: Rows, budget: float, *, count: int = 1
) -> list[tuple[int, ...]]:
    """Give the `count` best of the evaluated choices that meet the budget, best first; `points`: (choice, nats).

    Raises `ValueError` when none meets it.
    """
    fits = [(nats, choice) for choice, nats in points if size_of(choice, sizes) <= budget]
    if not fits:
        raise ValueError(f"none of {len(points)} evaluated choices has at most {budget:,.0f} bytes")
    return [choice for _, choice in sorted(dict.fromkeys(fits))[:count]]


def size_of(choice: Sequence[int], sizes: Rows) -> float:
    """Add up the bytes of a choice."""
    return sum(row[i] for row, i in zip(sizes, choice, strict=True))


def proxy(choice: Sequence[int], nats: Rows) -> float:
    """Add up the losses that a choice has one at a time."""
    return sum(row[i] for row, i in zip(nats, choice, strict=True))
