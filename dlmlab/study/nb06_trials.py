"""Notebook 06: what Optuna and chance asked: 60 models each, seed by seed, as many as the table of options has rows.

Objectives of the Optuna study: mean nats of the validation problems, and bytes. One study serves all budgets.
"""

from collections.abc import Sequence

import torch

from dlmlab.compress.joint import search, trials
from dlmlab.measure.table import Table
from dlmlab.study.finalists import NAMES, SEEDS, TOLERANCE, assembly, chosen, validation

METHODS = ("Optuna", "random")
TRIALS = 6 * len(NAMES)


def settings() -> list[dict]:
    """List every method and seed."""
    return [{"method": method, "seed": seed} for seed in SEEDS for method in METHODS]


def evaluate(seed: int, names: Sequence[str]) -> tuple[float, float]:
    """Ask a model: mean nats of the problems of a search, and bytes."""
    choice, made = chosen(seed, names), assembly(seed)
    if not made.shapes(choice):
        return 99.0, float(made.weigh(choice).bytes)  # no block is left: no model
    nats = validation(seed).nats(made.model(choice))
    return round(sum(nats) / len(nats), 5), float(made.weigh(choice).bytes)


def run(method: str, seed: int, size: int | None = None) -> dict:
    """Ask `TRIALS` models: `choices` (options, one a block), `losses` and `sizes`. With a `size`: what the first ones
    are, without asking them; a sampler learns nothing before its first models are asked."""
    count = size or TRIALS
    ask = (lambda names: (0.0, 0.0)) if size else (lambda names: evaluate(seed, names))
    places = assembly(seed).places
    if method == "random":
        generator = torch.Generator().manual_seed(seed)
        picks = search.random_choices([len(NAMES)] * len(places), TRIALS, generator)[:count]
        choices = [[NAMES[i] for i in pick] for pick in picks]
        found = [ask(names) for names in choices]
    else:
        space = dict.fromkeys(places, NAMES)
        done = trials.run(space, lambda v: ask([v[p] for p in places]), trials=count, seed=seed)
        choices = [[trial.values[place] for place in places] for trial in done]
        found = [trial.objectives for trial in done]
    losses, sizes = ([values[k] for values in found] for k in (0, 1))
    return {"choices": choices} | ({} if size else {"losses": losses, "sizes": sizes})


TABLE = Table(
    "06_trials",
    settings,
    run,
    live=({"method": "Optuna", "seed": 1}, {"method": "random", "seed": 0}),
    size=8,
    tolerance=TOLERANCE,
)
