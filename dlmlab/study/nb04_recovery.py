"""Notebook 04: recovery by fine-tuning at two learning rates, beside the dense model with the same steps.

A rate that repairs much in few steps is one that does damage, too: only the dense control shows the second part.
"""

from dlmlab.compress import pruning, recovery
from dlmlab.measure.table import Table
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import SEEDS, TOLERANCE, answer_bound, dense, judge
from dlmlab.study.nb04_sparsity import CURVES, pruned
from dlmlab.study.nb04_structure import smaller

RECOVERY_STEPS, RATES = 60, (1e-3, 1e-4)
FIRST_STEPS, FIRST_PROBLEMS = 2, 6  # of what is repeated live


def recoverable(kind: str, seed: int) -> LLaDAModelLM:
    """Make the models of the recovery table before fine-tuning, from the calibration texts of the seed."""
    if kind == "dense":
        return dense()
    if kind == "neurons 50 %":
        return smaller("neurons", "wanda, refit", 0.5, seed)
    return pruned(CURVES[0], 0.7, seed)


RECOVERED = ("Wanda 70 %", "dense", "neurons 50 %")


def recovered(kind: str, lr: float, seed: int, steps: int = RECOVERY_STEPS) -> LLaDAModelLM:
    """Take steps of a recovery whose batches are those of the seed."""
    recipe = recovery.recipe(RECOVERY_STEPS, rows=16, lr=lr, seed=1 + seed)
    return recovery.recover(recoverable(kind, seed), recipe, steps=steps)


def begin(kind: str, lr: float, seed: int) -> list[float]:
    """Take the first steps of a recovery only, and bound the likelihood of a few problems: what a live slice can."""
    return answer_bound(recovered(kind, lr, seed, FIRST_STEPS), size=FIRST_PROBLEMS)


def settings() -> list[dict]:
    """List each model before any step, and after the same steps at each learning rate, seed by seed.

    The seed draws the calibration texts and the batches; of the dense model before any step it is None.
    """
    names, tried = ("kind", "steps", "lr", "seed"), [(0, 0.0), *((RECOVERY_STEPS, lr) for lr in RATES)]
    rows = [(kind, steps, lr, seed) for seed in SEEDS for kind in RECOVERED for steps, lr in tried]
    drawn = [row for row in rows if row[:2] != ("dense", 0)]
    return [dict(zip(names, row, strict=True)) for row in (("dense", 0, 0.0, None), *drawn)]


def run(kind: str, steps: int, lr: float, seed: int | None, size: int | None = None) -> dict:
    """Fine-tune a pruned model or, as control, the dense one, for the same steps on the same batches."""
    if steps and size:
        return {"begin": begin(kind, lr, seed)}
    model = recovered(kind, lr, seed) if steps else recoverable(kind, seed or 0)
    numbers = {"nats": answer_bound(model, size=size), "sparsity": round(pruning.sparsity_of(model), 4)}
    return judge(model, seed=seed, size=size) | numbers | ({"begin": begin(kind, lr, seed)} if steps else {})


TABLE = Table(
    "04_recovery",
    settings,
    run,
    live=(
        {"kind": "Wanda 70 %", "steps": 0, "lr": 0.0, "seed": 0},
        {"kind": "Wanda 70 %", "steps": RECOVERY_STEPS, "lr": RATES[0], "seed": 0},
    ),
    size=6,
    tolerance=TOLERANCE,
)
