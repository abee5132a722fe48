"""Notebook 05: training with rounded weights, beside as many steps of the float model.

`start`: what is trained: `float`, or weights rounded in every forward, to 3 or 2 bits in groups or to three levels
(`ternary`). `loss`: `none` (rounded, not trained), `kl` to the float model on masked tokens, or the `diffusion` loss.
Every training sees the same problems of the calibration split under the same masks. Two learning rates, since what
repairs in few steps may do harm, too; the float model with the same steps shows how much. One seed.
"""

from collections.abc import Sequence

import torch

from dlmlab.compress import calibration
from dlmlab.compress.quant import qat
from dlmlab.measure import difference
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.network.codes import TERNARY
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import SEEDS, dense
from dlmlab.study.nb05_methods import bound, spec
from dlmlab.task import layout

STEPS, ROWS, SPLIT = 40, 16, 512  # the whole calibration split
FAST, SLOW = 1e-3, 2e-4
FIRST_STEPS, FIRST_PROBLEMS = 2, 6  # of what is repeated live
STARTS = {"float": None, "3": spec(3), "2": spec(2), "ternary": TERNARY}
TRAINED = (  # start, loss, lr
    ("2", "kl", FAST),
    ("float", "diffusion", FAST),
    ("2", "diffusion", FAST),
    ("ternary", "kl", FAST),
    ("3", "kl", FAST),
    ("2", "kl", SLOW),
    ("float", "diffusion", SLOW),
)


def draw(step: int) -> qat.Batch:
    """Make the batch of a step: problems of the calibration split, in turn, their answers maskable."""
    problems, first = calibration.calibration_problems(SPLIT), step * ROWS % SPLIT
    rows = layout.encode_rows(load("llada-mini").tokenizer, problems[first : first + ROWS], side="right")
    return rows.x0, rows.valid, rows.answer


def trained(start: str, loss: str, lr: float, steps: int = STEPS) -> LLaDAModelLM:
    """Train one model; what was rounded is frozen on its grid."""
    grid = STARTS[start]
    model = dense() if grid is None else qat.prepare(dense(), grid)
    if loss != "none":
        teacher = dense() if loss == "kl" else None
        generator = torch.Generator().manual_seed(0)
        model, _ = qat.finetune(model, draw, steps=steps, lr=lr, teacher=teacher, generator=generator)
    return qat.freeze(model)


def settings() -> list[dict]:
    """List the models as they are, then the trainings; the seed is that of the masks of the likelihood."""
    arms = [(start, "none", 0.0) for start in STARTS]
    return [{"start": s, "loss": loss, "lr": lr} for s, loss, lr in (*arms, *TRAINED)]


def run(start: str, loss: str, lr: float, size: int | None = None) -> dict:
    """Train one model and bound its likelihood under the masks of three seeds; `begin`: after two steps."""
    if size:
        return {"begin": bound(trained(start, loss, lr, FIRST_STEPS), 0, FIRST_PROBLEMS)}
    model = trained(start, loss, lr)
    nats = [bound(model, seed) for seed in SEEDS]
    begin = bound(trained(start, loss, lr, FIRST_STEPS), 0, FIRST_PROBLEMS)
    return {"nats": [round(sum(x) / len(x), 5) for x in zip(*nats, strict=True)], "begin": begin}


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote, in nats: what training gives, and what it gives the float model."""
    found: dict[str, float | str] = {}
    for start, loss, lr in TRAINED:
        key = {"start": start, "loss": loss, "lr": lr}
        name = f"{start} {loss} {lr:g}"
        gain = difference.of_rows(rows, key, {"start": start, "loss": "none"})
        lost = difference.of_rows(rows, key, {"start": "float", "loss": "none"})
        found |= difference.headlines("trained - not,", {name: gain})
        found |= difference.headlines("trained - float model,", {name: lost})
    pair = ({"start": "2", "loss": loss, "lr": FAST} for loss in ("kl", "diffusion"))
    return found | difference.headlines("kl - diffusion,", {"2 bits": difference.of_rows(rows, *pair)})


TABLE = Table(
    "05_qat",
    settings,
    run,
    live=(
        {"start": "2", "loss": "kl", "lr": FAST},
        {"start": "ternary", "loss": "none", "lr": 0.0},
    ),
    size=FIRST_STEPS,
    tolerance={"begin": (0.05, 0.05)},
    headlines=headlines,
)
