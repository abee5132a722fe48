"""Notebook 05: training with rounded weights, beside as many steps of the float model.

`start`: what is trained: `float`, or weights rounded in every forward, to 3 or 2 bits in groups or to three levels
(`ternary`). `loss`: `none` (rounded, not trained), `kl` to the float model on masked tokens, or the `diffusion` loss.
The seed draws the order of the problems (of the calibration split), the masks of the training and those of the
likelihood; every training of a seed sees the same ones. Two learning rates, since what repairs in few steps may do
harm, too; the float model with the same steps and the same rate shows how much.
"""

from collections.abc import Callable, Sequence

import torch

from dlmlab.compress import calibration
from dlmlab.compress.quant import qat
from dlmlab.measure import difference, store
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.network.codes import TERNARY
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study import nb05_methods
from dlmlab.study.judging import SEEDS, dense
from dlmlab.study.nb05_methods import bound, judged, spec
from dlmlab.task import layout

STEPS, ROWS, SPLIT = 100, 16, 512  # three passes over the whole calibration split
FAST, SLOW = 2e-4, 5e-5  # 1e-3, tried with one seed, takes the float model to 57 % exact match
FIRST_STEPS, FIRST_PROBLEMS = 2, 6  # of what is repeated live
STARTS = {"float": None, "3": spec(3), "2": spec(2), "ternary": TERNARY}
TRAINED = tuple(
    (start, loss, lr)
    for lr in (FAST, SLOW)
    for start, losses in (
        ("float", ("diffusion",)),
        ("2", ("kl", "diffusion")),
        ("3", ("kl", "diffusion")),
        ("ternary", ("kl",)),
    )
    for loss in losses
)


def drawn(seed: int) -> Callable[[int], qat.Batch]:
    """Return what makes the batch of a step: problems of the calibration split, shuffled anew in every pass."""
    problems = calibration.calibration_problems(SPLIT)

    def draw(step: int) -> qat.Batch:
        epoch, first = divmod(step * ROWS, SPLIT)
        order = torch.randperm(SPLIT, generator=torch.Generator().manual_seed(1000 * seed + epoch)).tolist()
        batch = [problems[i] for i in order[first : first + ROWS]]
        rows = layout.encode_rows(load("llada-mini").tokenizer, batch, side="right")
        return rows.x0, rows.valid, rows.answer

    return draw


def trained(start: str, loss: str, lr: float, seed: int, steps: int = STEPS) -> LLaDAModelLM:
    """Train one model; what was rounded is frozen on its grid."""
    grid = STARTS[start]
    model = dense() if grid is None else qat.prepare(dense(), grid)
    if loss != "none":
        teacher = dense() if loss == "kl" else None
        generator = torch.Generator().manual_seed(seed)
        model, _ = qat.finetune(model, drawn(seed), steps=steps, lr=lr, teacher=teacher, generator=generator)
    return qat.freeze(model)


def settings() -> list[dict]:
    """List the models as they are, then the trainings."""
    arms = (*((start, "none", 0.0) for start in STARTS), *TRAINED)
    return [{"start": s, "loss": loss, "lr": lr, "seed": seed} for seed in SEEDS for s, loss, lr in arms]


def run(start: str, loss: str, lr: float, seed: int, size: int | None = None) -> dict:
    """Train one model, let it answer, and bound its likelihood; `begin`: after two steps."""
    begin = {"begin": bound(trained(start, loss, lr, seed, FIRST_STEPS), seed, FIRST_PROBLEMS)}
    if size:
        return begin
    model = trained(start, loss, lr, seed)
    return judged(model) | {"nats": bound(model, seed)} | begin


def beside_gptq(rows: Sequence[dict], methods: Sequence[dict]) -> list[dict]:
    """Add GPTQ, which needs no training, as a loss of its own."""
    gptq = store.select(methods, model="llada-mini", method="gptq")
    return [*rows, *({"start": str(row["bits"]), "loss": "gptq", "lr": 0.0} | row for row in gptq)]


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote, in nats and points: against no training, against float, against GPTQ, loss by loss."""
    found: dict[str, float | str] = {}
    rows = beside_gptq(rows, nb05_methods.TABLE.rows())
    for column, unit in (("nats", 1), ("correct", 100)):
        word = "points" if unit == 100 else "nats"
        for start, loss, lr in TRAINED:
            mine = {"start": start, "loss": loss, "lr": lr}
            others = {"not": {"start": start, "loss": "none"}, "float": {"start": "float", "loss": "none"}}
            if start != "float":
                others["float trained"] = {"start": "float", "loss": "diffusion", "lr": lr}
            if start in ("2", "3"):
                others["gptq"] = {"start": start, "loss": "gptq"}
            if loss == "kl" and (start, "diffusion", lr) in TRAINED:
                others["diffusion"] = mine | {"loss": "diffusion"}
            for name, other in others.items():
                d = difference.of_rows(rows, mine, other, column=column).times(unit)
                found |= difference.headlines(f"{start} {loss} {lr:g} - {name},", {word: d})
    return found


TABLE = Table(
    "05_qat",
    settings,
    run,
    live=(
        {"start": "2", "loss": "kl", "lr": FAST, "seed": 0},
        {"start": "ternary", "loss": "none", "lr": 0.0, "seed": 1},
    ),
    size=FIRST_STEPS,
    tolerance={"begin": (0.05, 0.05)},
    headlines=headlines,
)
