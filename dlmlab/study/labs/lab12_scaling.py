"""Lab 12: four sizes and three budgets on the 42 equations, and what a power law fitted to them is worth.

The floor of the bound is the entropy of the texts, which is known here and nowhere else. So a fit may be given the
floor, may look for it, or may take it for 0, and the three exponents can be compared.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.model import count_parameters
from dlmlab.study.labs import lab12_families as families
from dlmlab.study.labs import lab12_toy as toy

WIDTHS, BUDGETS, NAMES, SEEDS = (8, 16, 32, 64), (50, 150, 450), ("mask", "uniform"), (0, 1)
BLOCKS = 4
FLOORS = ("known", "fitted", "none")


def size_of(width: int, steps: int) -> families.Size:
    """Describe a network of one width: two layers, heads of eight values, a hidden layer four times as wide."""
    return replace(toy.SIZE, d_model=width, n_heads=width // 8, hidden=4 * width, steps=steps)


@cache
def trained(family: str, width: int, steps: int, seed: int) -> families.Family:
    """Train one network; its schedule ends at its own last step."""
    return toy.network(family, seed, size_of(width, steps)).train(toy.batches, seed)


def run(family: str, width: int, steps: int, seed: int, size: int | None = None) -> dict:
    """Measure parameters and the gap between bound and entropy, in nats a text."""
    model = trained(family, width, steps, seed)
    gap = toy.gaps(model, families.FAMILIES[family], blocks=BLOCKS)
    return {"parameters": count_parameters(model.model), "gap": [round(g, 5) for g in gap]}


def points(rows: Sequence[dict], family: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Collect the four sizes of one budget: parameters (4,), and the bound in nats a text, (4, seeds)."""
    mine = [select(rows, family=family, steps=steps, width=width) for width in WIDTHS]
    bounds = [[toy.entropy() + float(np.mean(row["gap"])) for row in rows] for rows in mine]
    return np.array([rows[0]["parameters"] for rows in mine], dtype=float), np.array(bounds)


def exponent(x: np.ndarray, y: np.ndarray, floor: str) -> tuple[float, float, float]:
    """Fit y = E + A x^-b: returns b, E, and the root mean square of what is left over, in nats.

    Given E, A and b come from a straight line through log(y - E). `floor`: E is `known` (the entropy), `none` (0), or
    `fitted`: of values from 0 to just below the least y that which leaves least over.
    """

    def line(E: float) -> tuple[float, float]:
        slope, start = np.polyfit(np.log(x), np.log(y - E), 1)
        return -float(slope), float(np.sqrt(np.mean((y - E - np.exp(start) * x**slope) ** 2)))

    least = float(y.min())
    floors = {"known": [toy.entropy()], "none": [0.0]}.get(floor, [0.0, *(least - np.geomspace(1e-3, least, 80)[:-1])])
    left, b, E = min((line(E)[::-1] + (E,) for E in floors), key=lambda found: found[0])
    return b, float(E), left


def spread(rows: Sequence[dict], family: str, steps: int, floor: str, draws: int = 200) -> tuple[float, float]:
    """Give the 95 % interval of the exponent when seeds are drawn anew at every size, and one size is left out by
    chance in half of the draws."""
    x, y = points(rows, family, steps)
    rng, found = np.random.default_rng(0), []
    for _ in range(draws):
        mean = np.array([rng.choice(values, len(values)).mean() for values in y])
        keep = np.ones(len(x), dtype=bool)
        if rng.random() < 0.5:
            keep[rng.integers(len(x))] = False
        found.append(exponent(x[keep], mean[keep], floor)[0])
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def settings() -> list[dict]:
    """List family, width, budget and seed."""
    return [
        {"family": name, "width": width, "steps": steps, "seed": seed}
        for seed in SEEDS
        for name in NAMES
        for steps in BUDGETS
        for width in WIDTHS
    ]


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name the exponents that pages quote, at the largest budget."""
    found: dict[str, float | str] = {}
    for name in NAMES:
        for floor in FLOORS:
            x, y = points(rows, name, BUDGETS[-1])
            b, E, _ = exponent(x, y.mean(1), floor)
            low, high = spread(rows, name, BUDGETS[-1], floor)
            found |= {f"{name}, {floor}": b, f"{name}, {floor}, low": low, f"{name}, {floor}, high": high}
            found |= {f"{name}, {floor}, floor": E}
    return found


TABLE = Table(
    "12_scaling",
    settings,
    run,
    live=(
        {"family": "mask", "width": 8, "steps": 50, "seed": 0},
        {"family": "uniform", "width": 16, "steps": 50, "seed": 0},
    ),
    tolerance={"gap": (0.1, 0.05)},
    headlines=headlines,
)
