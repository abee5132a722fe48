"""Notebook 04: recovery by fine-tuning, beside the dense model with the same steps."""

from pathlib import Path

from dlmlab.compress import pruning, recovery
from dlmlab.measure import store
from dlmlab.measure.store import Say, fill
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.nb04_pruning import answer_bound, dense, judge
from dlmlab.study.nb04_sparsity import CURVES, pruned
from dlmlab.study.nb04_structure import smaller

RECOVERY_STEPS = 60


def recoverable(kind: str) -> LLaDAModelLM:
    """Make the models of the recovery table before fine-tuning."""
    if kind == "dense":
        return dense()
    if kind == "neurons 50 %":
        return smaller("neurons", "wanda, refit", 0.5)
    return pruned(CURVES[0], 0.7)


RECOVERED = ("Wanda 70 %", "dense", "neurons 50 %")


def recoveries(say: Say = print, path: Path = store.RESULTS / "04_recovery.json") -> None:
    """Fine-tune pruned models and, as control, the dense one, for the same steps on the same batches."""

    def measure(kind: str, steps: int) -> dict:
        model = recoverable(kind)
        if steps:
            model = recovery.recover(model, recovery.recipe(steps, rows=16), steps=steps, say=say)
        return judge(model) | {"nats": answer_bound(model), "sparsity": round(pruning.sparsity_of(model), 4)}

    keys = ({"kind": kind, "steps": steps} for kind in RECOVERED for steps in (0, RECOVERY_STEPS))
    fill(path, ((key, lambda k=key: measure(k["kind"], k["steps"])) for key in keys), say)
