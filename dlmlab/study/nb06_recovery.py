"""Notebook 06: the winner trained a little more, beside the dense model with the same steps.

`kind`: the knapsack's choice at a budget, or `dense`. `lr` 0: before any step. The small models learn from the dense
one (KL on masked tokens, zeros and grids kept), the dense one, which has nobody to learn from, by the diffusion loss.
The seed draws calibration texts, batches and masks; every training of a seed sees the same ones.
"""

from collections.abc import Sequence

import torch

from dlmlab.compress.joint import recover
from dlmlab.compress.joint.options import Option
from dlmlab.compress.quant import qat
from dlmlab.measure import difference
from dlmlab.measure.table import Table
from dlmlab.study import nb06_search
from dlmlab.study.finalists import BUDGETS, SEEDS, TOLERANCE, assembly, chosen, tested, weighed
from dlmlab.study.nb05_qat import FAST, FIRST_PROBLEMS, FIRST_STEPS, SLOW, STEPS, drawn

KINDS = {f"knapsack, {budget / 1e6:.2f} MB": budget for budget in BUDGETS[:2]} | {"dense": 0}
RATES = (FAST, SLOW)


def settings() -> list[dict]:
    """List each model before and after training, seed by seed."""
    return [{"kind": kind, "lr": lr, "seed": seed} for seed in SEEDS for kind in KINDS for lr in (0.0, *RATES)]


def trained(kind: str, lr: float, seed: int, steps: int):
    """Train one model for some steps; give it with its bytes."""
    made, generator = assembly(seed), torch.Generator().manual_seed(seed)
    choice = {} if kind == "dense" else chosen(seed, nb06_search.pick("knapsack", KINDS[kind], seed))
    if not lr:
        return made.model(choice or dict.fromkeys(made.places, Option())), weighed(seed, choice)["bytes"]
    how = {"steps": steps, "lr": lr, "generator": generator}
    if kind == "dense":
        return qat.finetune(made.dense, drawn(seed), **how)[0], weighed(seed, choice)["bytes"]
    return recover.recovered(made, choice, drawn(seed), teacher=made.dense, **how)


def run(kind: str, lr: float, seed: int, size: int | None = None) -> dict:
    """Test one model; `begin`: the likelihood of a few problems after two steps."""
    begin = tested(trained(kind, lr, seed, FIRST_STEPS)[0], size=FIRST_PROBLEMS)["nats"]
    if size:
        return {"begin": begin}
    model, size_of = trained(kind, lr, seed, STEPS)
    return {"bytes": size_of} | tested(model) | {"begin": begin}


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what training gives each model, and how far the small ones stay behind the dense one trained alike."""
    found: dict[str, float | str] = {}
    for column, unit, factor in (("correct", "points", 100), ("nats", "nats", 1)):
        for kind in KINDS:
            for lr in RATES:
                mine = {"kind": kind, "lr": lr}
                pairs = {"before": {"kind": kind, "lr": 0.0}, "dense": {"kind": "dense", "lr": 0.0}}
                pairs["dense trained"] = {"kind": "dense", "lr": lr}
                for name, other in pairs.items():
                    if mine != other and not (kind == "dense" and name == "dense"):
                        d = difference.of_rows(rows, mine, other, column=column).times(factor)
                        found |= difference.headlines(f"{kind}, {lr:g} - {name},", {unit: d})
    return found


TABLE = Table(
    "06_recovery",
    settings,
    run,
    live=({"kind": "knapsack, 1.44 MB", "lr": FAST, "seed": 0}, {"kind": "dense", "lr": SLOW, "seed": 1}),
    size=FIRST_PROBLEMS,
    tolerance=TOLERANCE | {"begin": (0.05, 0.05)},
    headlines=headlines,
)
