"""Notebook 03: are the masks of a diffusion bottle missed, and more than as many symbols? Costs paired text by text.

A row of `03_masks.json` is one bottle of `03_bottles` at one share of masks. `JOB HOW WHAT` is what a change costs one
query of each text, idle or at work, in nats: a mean for each of `GROUPS` groups of texts. `to masks`: the attention
that visible ordinary symbols give to masks, by head of layer 0.

Decisions
* Texts, masks, asked queries and drawn controls are the same for all bottles, so that changes, jobs, bottles and seeds
  are all compared on the same texts.
* Only texts in which both jobs occur and every control finds as many symbols as it has to take: where more than a third
  of a text is masked, nearly three texts in ten have fewer symbols left than masks. So the texts that are kept have
  somewhat fewer masks than the share at which they were drawn.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from dlmlab.attention import backcopy
from dlmlab.attention.backcopy import DIFFUSION
from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study import nb03_bottles
from dlmlab.study.nb03_bottles import HOW

BOTTLES = {"short": 10, "diffusion": 6}  # how many seeds of each
SHARES = (0.2, 0.37)  # of the tokens that are masks, in the draw
CANDIDATES, TEXTS, GROUPS = 1024, 512, 16
WHAT = {
    "idle": ("mask", "mask, control", "top mask", "top mask, other mask", "top mask, control"),
    "work": ("mask", "mask, control"),
}  # of `nb03_bottles.changes`


@functools.cache
def texts(share: float) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Draw texts with this share of masks: xt and x0 (TEXTS, L), and one asked query of each job, (TEXTS, L) bool.

    Every text has both jobs, three masks, and no more masks than symbols beside the one that is asked.
    """
    generator = torch.Generator().manual_seed(60_000)
    x0 = DIFFUSION.texts(CANDIDATES, generator=generator)
    xt = nb03_bottles.masked_texts(x0, share, generator=generator)
    jobs, count = nb03_bottles.jobs(xt, x0, causal=False), {k: v.sum(1) for k, v in nb03_bottles.kinds(xt).items()}
    fit = (count["mask"] >= 3) & (count["mask"] <= count["symbol"] + 1)
    for at in jobs.values():
        fit &= at.any(1)
    rows = fit.nonzero()[:TEXTS, 0]
    one = torch.ones(len(rows))
    asked = {job: nb03_bottles.drawn(at[rows], one, generator=generator) for job, at in jobs.items()}
    return xt[rows], x0[rows], asked


def grown(name: str, seed: int) -> LLaDAModelLM:
    """Read the bottle that comes with the course, or train another."""
    return backcopy.shipped() if (name, seed) == ("diffusion", 0) else nb03_bottles.trained(name, seed)[0]


def judge(model: LLaDAModelLM, share: float) -> dict[str, list]:
    """Measure what every change costs the asked queries of a bottle."""
    xt, x0, asked = texts(share)
    found = {"to masks": nb03_bottles.attention(model, xt, x0, few=True)["symbol > mask"][0]}
    for job, at in asked.items():
        dense = nb03_bottles.losses(model, xt, x0, at, causal=False)  # (TEXTS,)
        found[f"{job} nats"] = grouped(dense)
        generator = torch.Generator().manual_seed(70_000)
        for what, keys in nb03_bottles.changes(model, xt, at, generator=generator):
            for how, change in HOW.items() if what in WHAT[job] else ():
                changed = functools.partial(change, model, keys=keys)
                after = nb03_bottles.losses(changed, xt, x0, at, causal=False)
                found[f"{job} {how} {what}"] = grouped(after - dense)
    return found


def grouped(nats: Tensor) -> list[float]:
    """Average (TEXTS,) over each group of texts."""
    return [round(value, 5) for value in nats.view(GROUPS, -1).mean(1).tolist()]


def difference(rows: Sequence[dict], a: str, b: str | None = None, **key) -> Difference:
    """Compare two columns of the bottles with this key, or one with no cost at all, over texts and seeds."""
    both = []
    for row in select(rows, **key):
        both += [{"seed": row["seed"], "side": 0, "nats": row[a]}]
        both += [{"seed": row["seed"], "side": 1, "nats": row[b] if b else [0.0] * GROUPS}]
    return of_rows(both, {"side": 0}, {"side": 1})


def settings() -> list[dict]:
    """List the seeds of both bottles, each at both shares of masks."""
    return [
        {"bottle": name, "seed": seed, "share": share}
        for name, seeds in BOTTLES.items()
        for seed in range(seeds)
        for share in SHARES
    ]


def run(bottle: str, seed: int, share: float, size: int | None = None) -> dict:
    """Measure one row; no part of it is smaller than the whole."""
    return judge(grown(bottle, seed), share)


COSTS = [f"{job} {how} {what}" for job, names in WHAT.items() for how in HOW for what in names]
MASKS = Table(
    "03_masks",
    settings,
    run,
    live=[{"bottle": "diffusion", "seed": 0, "share": share} for share in SHARES],
    tolerance={"to masks": (0.005, 0.01)} | dict.fromkeys(COSTS, (0.003, 0.02)),
)
