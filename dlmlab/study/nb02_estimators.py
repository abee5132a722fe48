"""Notebook 02: how much a drawn count saves against a drawn time, on real texts, without the noise of a heavy tail.

The variance of one draw is dominated by rare masks with a large weight, so its estimate from a few draws is nearly
worthless: with six seeds of 32 draws the saving on questions came out between -45 % and 89 %. But given its size a mask
is a uniform random set under both estimators. So all that is needed are the mean of the summed loss and of its square
at every size l, from some draws a size, most of them where the weights are large; the rest is arithmetic.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.objective.noise import EPS, masked_losses, time_masks
from dlmlab.study.stand_in import load
from dlmlab.task import tasks
from dlmlab.task.layout import encode_rows

PROBLEMS, SEEDS, PARTS, LEAST = 8, (0, 1, 2), ("question", "answer"), 4
CONTROL = "no weight (control)"


def variances(mean: Sequence[float], square: Sequence[float]) -> tuple[float, float]:
    """Variance of one draw by time (uniform on [EPS, 1], weight 1 / t) and by count (uniform on 1..n, weight n / l).

    `mean` and `square`, n numbers each: the mean of the summed loss, and of its square, over all masks of l = 1..n
    tokens.
    """
    n, size = len(mean), np.arange(1, len(mean) + 1)
    mean, square = np.asarray(mean), np.asarray(square)
    count = (n / size**2 * square).sum() - (mean / size).sum() ** 2
    node, share = np.polynomial.legendre.leggauss(200)
    t = np.exp((1 - node) / 2 * math.log(EPS))[:, None]  # (200, 1), nodes even in log t
    chance = -share[:, None] / 2 * math.log(EPS) * t / (1 - EPS)  # of a time near t
    sets = np.array([math.comb(n, int(k)) for k in size], dtype=float)
    chance = chance * sets * t**size * (1 - t) ** (n - size)  # (200, n): of a time near t and l masks
    time = (chance * square / t**2).sum() - (chance * mean / t).sum() ** 2
    return float(time), float(count)


def look_up(masked: Tensor, every: Tensor) -> Tensor:
    """Look up the summed loss of masks over n tokens. Shapes: masked (..., n) bool, every (2**n - 1,) -> (...).

    `every`: the loss of mask number 1, 2, ..., where mask number m hides the tokens of the binary digits of m.
    """
    digits = 2 ** torch.arange(masked.shape[-1])
    return torch.cat([every.new_zeros(1), every])[(masked.long() * digits).sum(-1)]


def estimates(
    name: str, K: int, every: Tensor, *, count_masks: Callable[..., tuple[Tensor, Tensor]], seed: int, runs: int = 50
) -> Tensor:
    """Estimate the bound `runs` times with K draws each, from the losses of all masks: (runs,).

    `name` says what is drawn (by time, by count) and whether the draws of a run are independent or on an even grid;
    CONTROL reads the unweighted loss of a token as if it were a likelihood.
    """
    n = (len(every) + 1).bit_length() - 1
    generator, alone = torch.Generator().manual_seed(seed), "independent" in name
    maskable = torch.ones(runs * K if alone else runs, n, dtype=torch.bool)
    draw = count_masks if "count" in name else time_masks
    masked, weight = draw(maskable, draws=1 if alone else K, generator=generator)  # a row has one shift of its grid
    masked, weight = masked.view(runs, K, n), weight.view(runs, K)
    if name == CONTROL:
        return n * look_up(masked, every).sum(1) / masked.sum((1, 2)).clamp(min=1)
    return (weight * look_up(masked, every)).mean(1)


def masks_by_size(maskable: Tensor, generator: torch.Generator) -> Tensor:
    """Draw random sets of every size for one row: n / l of size l, rounded up, at least LEAST; of size 1 all n.

    Shapes: maskable (L,) bool -> (draws, L) bool.
    """
    at = maskable.nonzero()[:, 0]
    n, found = len(at), [torch.eye(len(maskable), dtype=torch.bool)[at]]
    for size in range(2, n + 1):
        draws = max(LEAST, math.ceil(n / size))
        order = torch.rand(draws, n, generator=generator).argsort(-1)[:, :size]
        found.append(torch.zeros(draws, len(maskable), dtype=torch.bool).scatter_(1, at[order], True))
    return torch.cat(found)


def run(part: str, seed: int, size: int | None = None) -> dict:
    """Measure validation problems one by one: variance of a draw in square nats by time and by count, and `saved`, the
    share of forwards that the count saves at equal error."""
    model, tokenizer = load("llada-mini")
    found: dict[str, list[float]] = {"time": [], "count": [], "saved": []}
    for i, problem in enumerate(tasks.load_split("validation")[: size or PROBLEMS]):
        row = encode_rows(tokenizer, [problem], side="left")
        x0, maskable = row.x0, getattr(row, part)[0]
        if part == "question":
            x0 = torch.where(row.answer, model.config.mask_token_id, x0)
        masked = masks_by_size(maskable, torch.Generator().manual_seed(1000 * seed + i))
        loss, count = masked_losses(model, x0, masked[None], valid=row.valid)[0].sum(-1), masked.sum(1)
        levels = [loss[count == size] for size in range(1, int(maskable.sum()) + 1)]
        time, by_count = variances([float(v.mean()) for v in levels], [float((v**2).mean()) for v in levels])
        for name, value in (("time", time), ("count", by_count), ("saved", 1 - by_count / time)):
            found[name].append(round(value, 5))
    return found


def saved(rows: Sequence[dict], part: str) -> Difference:
    """Mean share of forwards saved by the count, over problems and seeds."""
    mine = [row | {"side": side} for row in select(rows, part=part) for side in ("saved", "none")]
    mine = [row | {"saved": row["saved"] if row["side"] == "saved" else [0.0] * len(row["saved"])} for row in mine]
    return of_rows(mine, {"side": "saved"}, {"side": "none"}, column="saved")


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Give the share saved by part in percent, with its interval, and what questions save more than answers."""
    found = {part: saved(rows, part) for part in PARTS}
    found["question against answer"] = of_rows(rows, {"part": "question"}, {"part": "answer"}, column="saved")
    named: dict[str, float | str] = {}
    for name, d in found.items():
        named |= {name: d.mean, f"{name}, low": d.low, f"{name}, high": d.high, f"{name}, word": d.word}
    return named


TABLE = Table(
    "02_estimators",
    lambda: [{"part": part, "seed": seed} for seed in SEEDS for part in PARTS],
    run,
    live=[{"part": "question", "seed": 0}],
    size=1,
    tolerance={"time": (0.1, 0.02), "count": (0.1, 0.02), "saved": (0.02, 0.02)},
    headlines=headlines,
)
