"""Notebook 06: the finalists of four searches under three budgets, tested once; beside them, all blocks alike.

Every search had 60 evaluations: Optuna and random search asked 60 models (`06_trials`), greedy and knapsack the table
of 6 places with 10 options (`06_options`). "uniform" is the control: the option that just fits, for all blocks.
"""

from functools import cache

from dlmlab.compress.joint import footprint, search
from dlmlab.measure import difference, store
from dlmlab.measure.difference import Difference
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.study import nb06_options
from dlmlab.study.finalists import (
    BUDGETS,
    NAMES,
    SEEDS,
    TOLERANCE,
    about,
    assembly,
    chosen,
    recipe,
    tested,
    volume,
    weighed,
)

METHODS = ("Optuna", "greedy", "knapsack", "random", "uniform")
UNIFORM = dict(zip(BUDGETS, ("2 bits", "3 bits, zeros 50%", "3 bits"), strict=True))


def settings() -> list[dict]:
    """List every method under every budget, seed by seed."""
    return [{"method": m, "budget": b, "seed": seed} for seed in SEEDS for b in BUDGETS for m in METHODS]


def pick(method: str, budget: int, seed: int) -> list[str]:
    """Let a search choose, by what it asked: options, one a block."""
    if method == "uniform":
        return [UNIFORM[budget]] * nb06_options.LAYERS
    outside = footprint.outside(assembly(seed).dense)
    if method in ("greedy", "knapsack"):
        nats, sizes = nb06_options.table(store.read("06_options"), seed)
        solve = search.greedy if method == "greedy" else search.knapsack
        return [NAMES[i] for i in solve(nats, sizes, budget - outside)]
    (row,) = select(store.read("06_trials"), method=method, seed=seed)
    fits = [
        (loss, names)
        for names, loss, size in zip(row["choices"], row["losses"], row["sizes"], strict=True)
        if size <= budget
    ]
    return min(fits)[1]


def run(method: str, budget: int, seed: int, size: int | None = None) -> dict:
    """Test what a search chose; of two searches that chose the same, once."""
    names = pick(method, budget, seed)
    return {"choice": names} | outcome(seed, tuple(names), size)


@cache
def outcome(seed: int, names: tuple[str, ...], size: int | None) -> dict:
    """Test a model."""
    choice = chosen(seed, names)
    extra = {} if size else {"recipe": recipe(seed, choice)}
    return about(weighed(seed, choice), size) | tested(assembly(seed).model(choice), size=size) | extra


def volumes(rows: list[dict]) -> dict[str, list[float]]:
    """Hypervolume of each method over its budgets, one a seed."""
    return {m: [volume(select(rows, method=m, seed=seed)) for seed in SEEDS] for m in METHODS}


def compared(rows: list[dict], a: str, b: str, column: str = "nats") -> dict[str, Difference]:
    """Difference of two methods under each budget: nats, or points of exact match (`correct`)."""
    found = {
        f"{budget:,} bytes": difference.of_rows(
            rows, {"method": a, "budget": budget}, {"method": b, "budget": budget}, column=column
        )
        for budget in BUDGETS
    }
    return found if column == "nats" else {name: d.times(100) for name, d in found.items()}


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Every pair that the notebook speaks of, in nats and points; mean hypervolumes."""
    found: dict[str, float | str] = {}
    pairs = [("knapsack", b) for b in ("uniform", "Optuna", "greedy", "random")]
    for a, b in (*pairs, ("Optuna", "random")):
        found |= difference.headlines(f"{a} - {b}, nats,", compared(rows, a, b))
        found |= difference.headlines(f"{a} - {b}, points,", compared(rows, a, b, "correct"))
    for method, each in volumes(rows).items():
        found |= {f"volume {method}": sum(each) / len(each)}
    free = [row for row in select(rows, method="knapsack") if row["budget"] != BUDGETS[0]]  # where there is a choice
    picked = [name for row in free for name in row["choice"]]
    found["narrower blocks"] = f"{sum('neurons' in name or 'heads' in name for name in picked)} of {len(picked)}"
    return found


TABLE = Table(
    "06_search",
    settings,
    run,
    live=(
        {"method": "knapsack", "budget": BUDGETS[1], "seed": 0},
        {"method": "random", "budget": BUDGETS[2], "seed": 1},
    ),
    size=6,
    tolerance=TOLERANCE,
    headlines=headlines,
)
