"""Notebook 04: half of the bytes of the blocks gone as whole units, and a short training after it.

`mix`: which units are gone, so that the blocks of the model hold at most half of their bytes; `dense`: none. `chosen`:
`wanda, refit` (as in `04_structured`; layers would go by their influence, the lowest first) or, as control, `random`.
`steps`: 0, before any training, or `STEPS` steps of `recovery.recover`. The seed draws the calibration texts, what goes
at random, and the problems of the training. `bench --only smaller` times these models; no number here depends on the
clock. What the same training does to the dense model is in `04_recovery`, at another length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dlmlab.compress import activations, recovery, removal
from dlmlab.measure import difference
from dlmlab.measure.evaluate import Proportion
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import SEEDS, TOLERANCE, answer_bound, dense, texts
from dlmlab.study.nb05_methods import judged

STEPS, ROWS, RATE = 250, 32, 1e-3  # two to four minutes of one core a model; tried on validation problems
FIRST_STEPS, FIRST_PROBLEMS = 2, 6  # of what is repeated live
SELECTED, RANDOM = "wanda, refit", "random"


@dataclass(frozen=True)
class Kept:
    """How many layers of a model stay, and in each of them how many heads and neurons."""

    layers: int = 6
    heads: int = 6
    neurons: int = 512


MIXES = {"neurons": Kept(neurons=120)}  # in eights, as the products of a processor like them
DENSE = "dense"


def block_bytes(model: LLaDAModelLM) -> int:
    """Count the bytes of all blocks of a model."""
    return sum(p.numel() * p.element_size() for p in parts.blocks(model).parameters())


def removed(keep: Kept, chosen: str, seed: int) -> LLaDAModelLM:
    """Take units out of the dense model: layers first, then heads, then neurons of what is left."""
    model = dense()
    calib, generator = texts("uniform", seed, "answer"), torch.Generator().manual_seed(seed)
    if gone := model.config.n_layers - keep.layers:
        if chosen == RANDOM:
            order = torch.randperm(model.config.n_layers, generator=generator)
        else:
            order = torch.tensor(removal.block_influence(model, calib)).argsort(stable=True)
        model = removal.remove_layers(model, order[:gone].tolist())
    for units, count, all_ in (("heads", keep.heads, 6), ("neurons", keep.neurons, 512)):
        if count < all_:
            model = thinner(model, units, 1 - count / all_, chosen, calib, generator)
    return model


def thinner(model: LLaDAModelLM, units: str, share: float, chosen: str, calib, generator) -> LLaDAModelLM:
    """Take a share of the heads or neurons out of every layer; what is chosen is also refitted."""
    statistics = activations.collect(model, calib, gram=True) if chosen != RANDOM else None
    method = chosen.split(",")[0]
    lost = removal.choose_units(model, units, share, method, statistics=statistics, generator=generator)
    return removal.remove_units(model, units, lost, statistics=statistics)


def made(mix: str, chosen: str, seed: int, steps: int = STEPS, until: int | None = None) -> LLaDAModelLM:
    """Make one model of the table; `until`: only so many of its steps."""
    model = dense() if mix == DENSE else removed(MIXES[mix], chosen, seed)
    if not steps:
        return model
    recipe = recovery.recipe(steps, rows=ROWS, lr=RATE, seed=1 + seed)
    return recovery.recover(model, recipe, steps=until or steps).eval()


def settings() -> list[dict]:
    """List the dense model, then every mix before and after training, chosen and at random, seed by seed."""
    found = [{"mix": DENSE, "chosen": "", "steps": 0, "seed": None}]
    for seed in SEEDS:
        arms = [(mix, SELECTED, steps) for mix in MIXES for steps in (0, STEPS)]
        arms += [(mix, RANDOM, STEPS) for mix in MIXES]
        found += [{"mix": m, "chosen": how, "steps": steps, "seed": seed} for m, how, steps in arms]
    return found


def run(mix: str, chosen: str, steps: int, seed: int | None, size: int | None = None) -> dict:
    """Make one model and let it answer all problems; `begin`: the likelihood of a few after two steps."""
    begin = {}
    if steps:
        young = made(mix, chosen, seed or 0, steps, FIRST_STEPS)
        begin = {"begin": answer_bound(young, problems=FIRST_PROBLEMS)}
    if steps and size:
        return begin
    model = made(mix, chosen, seed or 0, steps)
    return judged(model, size=size) | {"block_bytes": block_bytes(model)} | begin


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name, mix by mix, the share of the bytes and of right answers (mean over seeds), and differences in points: to
    the dense model, to random units, and to the model before its training."""
    (base,) = select(rows, mix=DENSE, steps=0)
    found: dict[str, float | str] = {}
    for mix in MIXES:
        mine = {"mix": mix, "chosen": SELECTED, "steps": STEPS}
        trained = select(rows, **mine)
        found[mix] = sum(Proportion.of(row["correct"]).value for row in trained) / len(trained)
        found[f"{mix}, bytes"] = trained[0]["block_bytes"] / base["block_bytes"]
        others = {
            "dense": {"mix": DENSE, "steps": 0},
            "random": mine | {"chosen": RANDOM},
            "before": mine | {"steps": 0},
        }
        for name, other in others.items():
            d = difference.of_rows(rows, mine, other, column="correct").times(100)
            found |= difference.headlines(f"{mix} - {name},", {"points": d})
    return found


TABLE = Table(
    "04_smaller",
    settings,
    run,
    live=(
        {"mix": "neurons", "chosen": SELECTED, "steps": STEPS, "seed": 0},
        {"mix": "neurons", "chosen": RANDOM, "steps": STEPS, "seed": 1},
    ),
    size=FIRST_STEPS,
    tolerance=TOLERANCE | {"begin": (0.05, 0.05)},
    headlines=headlines,
)
