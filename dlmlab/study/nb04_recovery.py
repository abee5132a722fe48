"""Notebook 04: recovery by fine-tuning at two learning rates, beside the dense model with the same steps.

A rate that repairs much in few steps is one that does damage, too: only the dense control shows the second part.
"""

from dlmlab.compress import pruning, recovery
from dlmlab.measure.table import Table
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import TOLERANCE, answer_bound, dense, judge
from dlmlab.study.nb04_sparsity import CURVES, pruned
from dlmlab.study.nb04_structure import smaller

PROBLEMS, BOUND_PROBLEMS, DRAWS = 64, 48, 6  # of the test split: exact match; likelihood and its masks
RECOVERY_STEPS, RATES = 60, (1e-3, 1e-4)
FIRST_STEPS, FIRST_PROBLEMS = 2, 6  # of what is repeated live


def recoverable(kind: str) -> LLaDAModelLM:
    """Make the models of the recovery table before fine-tuning."""
    if kind == "dense":
        return dense()
    if kind == "neurons 50 %":
        return smaller("neurons", "wanda, refit", 0.5)
    return pruned(CURVES[0], 0.7)


RECOVERED = ("Wanda 70 %", "dense", "neurons 50 %")


def begin(kind: str, lr: float) -> list[float]:
    """Take the first steps of a recovery only, and bound the likelihood of a few problems: what a live slice can."""
    model = recovery.recover(recoverable(kind), recovery.recipe(RECOVERY_STEPS, rows=16, lr=lr), steps=FIRST_STEPS)
    return answer_bound(model, problems=BOUND_PROBLEMS, draws=DRAWS, size=FIRST_PROBLEMS)


def settings() -> list[dict]:
    """List each model before any step, and after the same steps at each learning rate."""
    tried = [(0, 0.0), *((RECOVERY_STEPS, lr) for lr in RATES)]
    return [{"kind": kind, "steps": steps, "lr": lr} for kind in RECOVERED for steps, lr in tried]


def run(kind: str, steps: int, lr: float, size: int | None = None) -> dict:
    """Fine-tune a pruned model or, as control, the dense one, for the same steps on the same batches."""
    if steps and size:
        return {"begin": begin(kind, lr)}
    model = recoverable(kind)
    if steps:
        model = recovery.recover(model, recovery.recipe(steps, rows=16, lr=lr), steps=steps)
    nats = answer_bound(model, problems=BOUND_PROBLEMS, draws=DRAWS, size=size)
    numbers = {"nats": nats, "sparsity": round(pruning.sparsity_of(model), 4)}
    return judge(model, problems=PROBLEMS, size=size) | numbers | ({"begin": begin(kind, lr)} if steps else {})


TABLE = Table(
    "04_recovery",
    settings,
    run,
    live=(
        {"kind": "Wanda 70 %", "steps": 0, "lr": 0.0},
        {"kind": "Wanda 70 %", "steps": RECOVERY_STEPS, "lr": RATES[0]},
    ),
    size=6,
    tolerance=TOLERANCE,
)
