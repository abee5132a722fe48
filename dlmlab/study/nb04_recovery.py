"""Notebook 04: recovery by fine-tuning at two learning rates, beside the dense model with the same steps.

A rate that repairs much in few steps is one that does damage, too: only the dense control shows the second part.

A row is one run. The seed draws the calibration texts of what is pruned, and the problems and masks of the fine-tuning;
the masks of the likelihood are common to all rows. Before any step nothing is drawn for the dense model: seed None.
"""

from collections.abc import Sequence

from dlmlab.compress import pruning, recovery
from dlmlab.measure import difference
from dlmlab.measure.difference import Difference
from dlmlab.measure.table import Table
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import SEEDS, TOLERANCE, answer_bound, dense, judge
from dlmlab.study.nb04_sparsity import CURVES, pruned
from dlmlab.study.nb04_structure import smaller

STEPS, RATES = 60, (1e-4, 1e-3)  # the rate falls to 0 within the steps
ROWS = 16  # problems a step
FIRST_STEPS, FIRST_PROBLEMS = 2, 6  # of what is repeated live
KINDS = ("Wanda 70 %", "dense", "neurons 50 %")


def before(kind: str, seed: int | None) -> LLaDAModelLM:
    """Make a model of the table before any step."""
    if kind == "dense":
        return dense()
    if kind == "neurons 50 %":
        return smaller("neurons", "wanda, refit", 0.5, seed)
    return pruned(CURVES[0], 0.7, seed)


def after(kind: str, lr: float, seed: int, *, steps: int = STEPS) -> LLaDAModelLM:
    """Fine-tune a model, or as control the dense one, on the batches of the seed; stop after `steps`."""
    config = recovery.recipe(STEPS, rows=ROWS, lr=lr, seed=1 + seed)  # batches of seed 0 trained LLaDA-mini
    return recovery.recover(before(kind, seed), config, steps=steps)


def settings() -> list[dict]:
    """List each model before any step, and after the same steps at each rate, seed by seed."""
    rows = [(kind, 0, 0.0, seed) for kind in KINDS for seed in ((None,) if kind == "dense" else SEEDS)]
    rows += [(kind, STEPS, lr, seed) for lr in RATES for seed in SEEDS for kind in KINDS]
    return [arm(*row) for row in rows]


def arm(kind: str, steps: int, lr: float, seed: int | None) -> dict:
    """Write the key of a row."""
    return {"kind": kind, "steps": steps, "lr": lr, "seed": seed}


def run(kind: str, steps: int, lr: float, seed: int | None, size: int | None = None) -> dict:
    """Answer all test problems and bound their likelihood; what is fine-tuned is repeated live by its first steps."""
    begin = {}
    if steps:
        begin = {"begin": answer_bound(after(kind, lr, seed, steps=FIRST_STEPS), size=FIRST_PROBLEMS)}
        if size:
            return begin
    model = after(kind, lr, seed) if steps else before(kind, seed)
    zeros = {"sparsity": round(pruning.sparsity_of(model), 4)}
    return judge(model, size=size) | {"nats": answer_bound(model, size=size)} | zeros | begin


def change(rows: Sequence[dict], kind: str, lr: float) -> dict[str, Difference]:
    """Compare a model after its steps with itself before: points of exact match and nats, over problems and seeds."""
    keys = {"kind": kind, "steps": STEPS, "lr": lr}, {"kind": kind, "steps": 0}
    points = difference.of_rows(rows, *keys, column="correct").times(100)
    return {"points": points, "nats": difference.of_rows(rows, *keys)}


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name every change: "dense points 0.001" and so on, and the words over the rates."""
    found = {}
    for kind in KINDS:
        each = {f"{lr:g}": change(rows, kind, lr) for lr in RATES}
        for unit in ("points", "nats"):
            found |= difference.headlines(f"{kind} {unit}", {lr: of[unit] for lr, of in each.items()})
    return found


TABLE = Table(
    "04_recovery",
    settings,
    run,
    live=(arm("Wanda 70 %", 0, 0.0, 0), arm("Wanda 70 %", STEPS, RATES[-1], 0)),
    size=FIRST_PROBLEMS,
    tolerance=TOLERANCE,
    headlines=headlines,
)
