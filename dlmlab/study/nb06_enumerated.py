"""Notebook 06: a space small enough to ask every model: six blocks with three options, 729 models.

So "the search finds the best" is a number: the gap to the optimum under a budget. The searches read the stored losses
instead of asking again, which makes many seeds cheap.
"""

from functools import cache

import numpy as np
import torch

from dlmlab.compress.joint import search, trials
from dlmlab.compress.joint.additivity import Additivity, additivity
from dlmlab.compress.joint.validation import Validation
from dlmlab.measure.table import Table
from dlmlab.study.finalists import TOLERANCE, about, assembly, chosen

SMALL = ("4 bits", "2 bits", "4 bits, neurons 50%")
LAYERS, SEED, PROBLEMS = 6, 0, 16
EVALUATIONS = 1 + LAYERS * (len(SMALL) - 1)  # of a table of one change at a time
SHARES = (0.25, 0.5, 0.75)  # budgets between the smallest and the largest model
RANDOM_SEEDS, OPTUNA_SEEDS = 200, 20


@cache
def problems() -> Validation:
    """The problems of this table, under one mask each."""
    return Validation(PROBLEMS, 1, SEED)


def settings() -> list[dict]:
    """Cut the space in nine parts, by the options of the first two blocks."""
    return [{"first": i, "second": j} for i in range(len(SMALL)) for j in range(len(SMALL))]


def run(first: int, second: int, size: int | None = None) -> dict:
    """Ask every model of a part, the last block running fastest: `losses` (mean nats) and `sizes` (bytes)."""
    made, losses, sizes = assembly(SEED), [], []
    for rest in list(search.every_choice([len(SMALL)] * (LAYERS - 2)))[:size]:
        choice = chosen(SEED, [SMALL[i] for i in (first, second, *rest)])
        losses.append(round(problems().loss(made.model(choice)), 5))
        sizes.append(about({"bytes": made.weigh(choice).bytes}, size)["bytes"])
    return {"losses": losses, "sizes": sizes}


def space(rows: list[dict]) -> dict[tuple[int, ...], tuple[float, int]]:
    """Read the table as {choice: (loss, bytes)}."""
    rows = sorted(rows, key=lambda row: (row["first"], row["second"]))
    losses = [loss for row in rows for loss in row["losses"]]
    sizes = [size for row in rows for size in row["sizes"]]
    return dict(zip(search.every_choice([len(SMALL)] * LAYERS), zip(losses, sizes, strict=True), strict=True))


def budgets(models: dict) -> list[int]:
    """Give three budgets between the smallest and the largest model."""
    low, high = (f(size for _, size in models.values()) for f in (min, max))
    return [round(low + share * (high - low)) for share in SHARES]


def one_at_a_time(models: dict) -> tuple[list[list[float]], list[list[int]]]:
    """Read the table of options off the space: one block changed, the others at the first option."""
    start, start_size = models[(0,) * LAYERS]
    ways = [[(0,) * p + (o,) + (0,) * (LAYERS - p - 1) for o in range(len(SMALL))] for p in range(LAYERS)]
    nats = [[models[way][0] - start for way in row] for row in ways]
    sizes = [[models[way][1] - start_size for way in row] for row in ways]
    return nats, sizes


def gaps(rows: list[dict]) -> list[dict]:
    """Compare the searches with the optimum: per budget, method and seed, the loss above the best that is possible.

    Each asked `EVALUATIONS` models. inf where none of those met the budget.
    """
    models = space(rows)
    nats, sizes = one_at_a_time(models)
    base, found = models[(0,) * LAYERS][1], []
    asked = {("random", seed): _random(seed) for seed in range(RANDOM_SEEDS)}
    asked |= {("Optuna", seed): _optuna(models, seed) for seed in range(OPTUNA_SEEDS)}
    for budget in budgets(models):
        best = min(loss for loss, size in models.values() if size <= budget)
        solved = {"greedy": search.greedy, "knapsack": search.knapsack}
        shifted = [[size + base // LAYERS for size in row] for row in sizes]
        for method, solve in solved.items():
            choice = solve(nats, shifted, budget - base + LAYERS * (base // LAYERS))
            found.append({"method": method, "budget": budget, "seed": 0, "gap": models[choice][0] - best})
        for (method, seed), choices in asked.items():
            losses = [models[c][0] for c in choices if models[c][1] <= budget]
            gap = min(losses, default=np.inf) - best
            found.append({"method": method, "budget": budget, "seed": seed, "gap": gap})
    return found


def _random(seed: int) -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(seed)
    return search.random_choices([len(SMALL)] * LAYERS, EVALUATIONS, generator)


def _optuna(models: dict, seed: int) -> list[tuple[int, ...]]:
    places = [f"blocks.{layer}" for layer in range(LAYERS)]
    choices = dict.fromkeys(places, [str(i) for i in range(len(SMALL))])
    read = {tuple(map(str, choice)): value for choice, value in models.items()}
    done = trials.run(
        choices, lambda v: read[tuple(v[p] for p in places)], trials=EVALUATIONS, seed=seed, startup=EVALUATIONS // 2
    )
    return [tuple(int(trial.values[place]) for place in places) for trial in done]


def fitting(models: dict, budget: int, evaluations: int, seed: int) -> float:
    """Ask models at random among those that fit, and give the least loss: bytes are known without asking."""
    fits = [loss for loss, size in models.values() if size <= budget]
    picked = np.random.default_rng(seed).choice(len(fits), min(evaluations, len(fits)), replace=False)
    return min(fits[i] for i in picked)


def climb(models: dict, budget: int, evaluations: int, seed: int) -> float:
    """Ask the uniform models that fit, then give two blocks of the best so far other options, and so on, never asking
    what does not fit; give the least loss. The idea of EvoPress, arXiv 2410.14649, in its simplest form."""
    rng, fits = np.random.default_rng(seed), {c: loss for c, (loss, size) in models.items() if size <= budget}
    choices, losses = np.array(list(fits)), np.array(list(fits.values()))
    asked = (choices == choices[:, :1]).all(1)
    while asked.sum() < min(evaluations, len(fits)):
        best = choices[np.where(asked, losses, np.inf).argmin()]
        near = ~asked & ((choices != best).sum(1) <= 2)
        asked[rng.choice(np.flatnonzero(near if near.any() else ~asked))] = True
    return float(losses[asked].min())


INFORMED = {"chance that fits": fitting, "from uniform": climb}
MORE = 30  # evaluations


def informed(models: dict) -> dict[tuple[str, int, int], float]:
    """Median gap to the optimum of searches that ask whole models and know their bytes: {(search, evaluations, budget):
    nats}."""
    found = {}
    for budget in budgets(models):
        best = min(loss for loss, size in models.values() if size <= budget)
        for name, ask in INFORMED.items():
            for count in (EVALUATIONS, MORE):
                losses = [ask(models, budget, count, seed) for seed in range(RANDOM_SEEDS)]
                found[name, count, budget] = float(np.median(losses)) - best
    return found


def added(models: dict, low: int = 0, high: int = LAYERS) -> Additivity:
    """Compare sums and truths of all models with `low` to `high` blocks at two bits."""
    nats, _ = one_at_a_time(models)
    some = [c for c in models if low <= c.count(SMALL.index("2 bits")) <= high]
    start = models[(0,) * LAYERS][0]
    return additivity([search.proxy(c, nats) for c in some], [models[c][0] - start for c in some])


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Median gap of every method under every budget, in nats, the range of losses within the budgets, and how well sums
    rank the models: all of them, and those with few or many blocks at two bits."""
    found, models = gaps(rows), space(rows)
    numbers: dict[str, float | str] = {"models": len(models), "evaluations": EVALUATIONS}
    for budget in budgets(models):
        losses = [loss for loss, size in models.values() if size <= budget]
        numbers |= {f"optimum {budget:,}": min(losses), f"median model {budget:,}": float(np.median(losses))}
        for method in ("greedy", "knapsack", "Optuna", "random"):
            mine = [row["gap"] for row in found if (row["method"], row["budget"]) == (method, budget)]
            numbers[f"gap {method} {budget:,}"] = float(np.median(mine))
    numbers |= {f"gap {name}, {n}, {budget:,}": gap for (name, n, budget), gap in informed(models).items()}
    for name, some in (("all", {}), ("at most one", {"high": 1}), ("four or more", {"low": 4})):
        numbers |= {f"{part}, {name}": getattr(added(models, **some), part) for part in ("spearman", "r2", "slope")}
    return numbers


TABLE = Table(
    "06_enumerated",
    settings,
    run,
    live=({"first": 1, "second": 2},),
    size=3,
    tolerance=TOLERANCE | {"sizes": TOLERANCE["bytes"]},
    headlines=headlines,
)
