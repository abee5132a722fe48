"""Notebook 04: the token weights of the ablation in a published model whose first token is a strong sink, SmolLM2.

A row is one pruned model: Wanda, one shot, calibrated on windows of the course's own prose, measured on other windows
of it: `nats` a token, one mean a window. The seed draws the calibration windows and the shuffles; the windows that are
measured are the same for all. `length` is that of the calibration windows, of which there are fewer when they are
longer: every window has one first token, so this sets how many of the tokens are sinks.
Rows of the weight 1 - phi have a column `taken`, see there.

The published model is of Llama's architecture, which the course's causal class computes too. Its weights are put into
that class, so that everything of `compress` works on it as it stands.
"""

from functools import cache

import torch
from torch import Tensor

from dlmlab.attention import wild
from dlmlab.compress import activations, calibration, pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.network.llama import converted
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective import likelihood
from dlmlab.study.judging import SEEDS
from dlmlab.study.nb03_wild import LENGTH, written
from dlmlab.study.nb04_sinks import MAIN, against_controls

SPARSITY = 0.6
MEASURED, LOOKED_AT = 32, 2048  # windows, tokens
LENGTHS = (LENGTH, 4 * LENGTH)  # of calibration windows: one first token in 32, and in 128


@cache
def guest() -> tuple[LLaDAModelLM, Tensor]:
    """Load the published model and tokenize the prose, (n,)."""
    llama, tokenizer = wild.load("smollm2")
    return converted(llama), wild.windows(tokenizer, written("prose"), length=1, most=1_000_000)[:, 0]


def states(seed: int, length: int = LENGTH) -> calibration.CalibrationSet:
    """Draw calibration windows from the prose behind what is measured."""
    rest = guest()[1][MEASURED * LENGTH :]
    windows = rest[: len(rest) // length * length].view(-1, length)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))[: LOOKED_AT // length]
    return calibration.token_set(windows[order], "clean", mask_id=-1)


@cache
def moments(seed: int, length: int = LENGTH) -> dict[str, dict]:
    """Collect the statistics of the dense model under every weight."""
    calib, generator = states(seed, length), torch.Generator().manual_seed(1000 + seed)
    batch = LOOKED_AT // 4 // length
    phi = calibration.sink_scores(guest()[0], calib, batch_size=batch)
    weights = [calibration.token_weights(kind, calib, phi=phi, generator=generator) for kind in MAIN]
    return dict(zip(MAIN, activations.collect_each(guest()[0], calib, weights, batch_size=batch), strict=True))


def window_nats(model: LLaDAModelLM, size: int | None = None) -> list[float]:
    """Average the loss of the tokens of each measured window, in nats."""
    windows = guest()[1][: MEASURED * LENGTH].view(MEASURED, LENGTH)[:size]
    found = torch.cat([likelihood.next_token_nats(model, part).mean(1) for part in windows.split(8)])
    return [round(v, 5) for v in found.tolist()]


def settings() -> list[dict]:
    """List the dense model, Wanda without weights for one draw, then the weights, seed by seed, at both lengths."""
    names = ("weight", "sparsity", "length", "seed")
    rows = [("dense", 0.0, LENGTH, 0), (MAIN[0], SPARSITY, LENGTH, 0)]
    rows += [(kind, SPARSITY, LENGTH, seed) for seed in SEEDS for kind in MAIN[1:]]
    rows += [(kind, SPARSITY, LENGTHS[1], seed) for seed in SEEDS for kind in ("sink", "shuffled")]
    return [dict(zip(names, row, strict=True)) for row in rows]


def run(weight: str, sparsity: float, length: int, seed: int, size: int | None = None) -> dict:
    """Prune and measure the published model; given a `size`, on the first so many windows."""
    model = guest()[0]
    if weight != "dense":
        recipe = Recipe("wanda", sparsity, sequential=False)
        model = pruning.prune(model, recipe, statistics=moments(seed, length)[weight])
    more = {"taken": taken(seed, length)} if weight == "sink" and size is None else {}
    return {"nats": window_nats(model, size)} | more


def taken(seed: int, length: int) -> list[float]:
    """Measure, by layer, what share of the squared inputs of the MLP's last matrix the weight 1 - phi takes away."""
    found = moments(seed, length)
    names = [name for name in found["ones"] if name.endswith(parts.UNITS["neurons"].out)]
    return [round(1 - float(found["sink"][n].sum_sq.sum() / found["ones"][n].sum_sq.sum()), 4) for n in names]


WILD_TABLE = Table(
    "04_wild_sinks",
    settings,
    run,
    live=({"weight": "dense", "sparsity": 0.0, "length": LENGTH, "seed": 0},),
    size=4,
    tolerance={"nats": (0.01, 0.01)},
    headlines=lambda rows: against_controls(rows, "smollm2", length=LENGTH),
    missing=lambda: wild.missing("smollm2"),
)
