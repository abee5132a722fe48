"""Notebook 04: heads, neurons and layers removed."""

from functools import cache

import torch

from dlmlab.compress import activations, removal
from dlmlab.measure.table import Table
from dlmlab.network import cost
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import SEEDS, TOLERANCE, answer_bound, dense, judge, texts


def smaller(units: str, method: str, share: float, seed: int = 0) -> LLaDAModelLM:
    """Remove a share of heads or neurons in every layer by a method of `STRUCTURED`."""
    model, calib = dense(), texts("uniform", seed, "answer")
    refit = method == "wanda, refit"
    statistics = activations.collect(model, calib, gram=refit)
    generator = torch.Generator().manual_seed(seed)
    name = method.split(",")[0]
    chosen = removal.choose_units(model, units, share, name, statistics=statistics, generator=generator)
    return removal.remove_units(model, units, chosen, statistics=statistics if refit else None)


STRUCTURED = [
    (units, method, share)
    for units, shares in (("neurons", (0.25, 0.5)), ("heads", (1 / 3,)))
    for share in shares
    for method in ("random", "magnitude", "wanda", "wanda, refit")
]


def settings() -> list[dict]:
    """List the dense model, the model without each of its layers, and neurons and heads by every method and seed.

    The seed draws the texts, or what is removed at random; where nothing is drawn it is None.
    """
    without = [
        {"units": "layer", "method": f"without {i}", "share": round(1 / 6, 4), "seed": None}
        for i in range(dense().config.n_layers)
    ]
    units = [
        {"units": u, "method": method, "share": round(share, 4), "seed": None if method == "magnitude" else seed}
        for seed in SEEDS
        for u, method, share in STRUCTURED
        if method != "magnitude" or seed == SEEDS[0]
    ]
    return [{"units": "dense", "method": "", "share": 0.0, "seed": None}, *without, *units]


@cache
def influence() -> list[float]:
    return removal.block_influence(dense(), texts("uniform", 0, "answer"))


def run(units: str, method: str, share: float, seed: int | None, size: int | None = None) -> dict:
    """Measure one smaller model: exact match, likelihood, bytes and work; of a layer also its influence."""
    extra = {}
    if units == "layer":
        layer = int(method.removeprefix("without "))
        model, extra = removal.remove_layers(dense(), [layer]), {"influence": round(influence()[layer], 5)}
    elif units == "dense":
        model = dense()
    else:
        (exact,) = (s for u, m, s in STRUCTURED if (u, m, round(s, 4)) == (units, method, share))
        model = smaller(units, method, exact, seed or 0)
    work = {"bytes": cost.model_bytes(model), "mflop": round(cost.forward_flops(model.config, 80) / 1e6, 2)}
    return judge(model, seed=seed, size=size) | {"nats": answer_bound(model, size=size)} | work | extra


TABLE = Table(
    "04_structured",
    settings,
    run,
    live=(
        {"units": "neurons", "method": "wanda, refit", "share": 0.5, "seed": 0},
        {"units": "heads", "method": "magnitude", "share": round(1 / 3, 4), "seed": None},
        {"units": "layer", "method": "without 3", "share": round(1 / 6, 4), "seed": None},
    ),
    size=10,
    tolerance=TOLERANCE,
)
