"""Notebook 04: heads, neurons and layers removed."""

from functools import cache
from pathlib import Path

import torch

from dlmlab.compress import activations, structured
from dlmlab.measure import store
from dlmlab.measure.store import Say, fill
from dlmlab.network import cost
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.nb04_pruning import answer_bound, dense, judge, texts


def smaller(units: str, method: str, share: float, seed: int = 0) -> LLaDAModelLM:
    """Remove a share of heads or neurons in every layer by a method of `STRUCTURED`."""
    model, calib = dense(), texts("uniform", seed, "answer")
    refit = method == "wanda, refit"
    statistics = activations.collect(model, calib, gram=refit)
    generator = torch.Generator().manual_seed(seed)
    name = method.split(",")[0]
    chosen = structured.choose_units(model, units, share, name, statistics=statistics, generator=generator)
    return structured.remove_units(model, units, chosen, statistics=statistics if refit else None)


STRUCTURED = [
    (units, method, share)
    for units, shares in (("neurons", (0.25, 0.5)), ("heads", (1 / 3,)))
    for share in shares
    for method in ("random", "magnitude", "wanda", "wanda, refit")
]


def structure(say: Say = print, path: Path = store.RESULTS / "04_structured.json") -> None:
    """Remove neurons, heads and layers; every layer alone, beside its block influence."""
    influence = cache(lambda: structured.block_influence(dense(), texts("uniform", 0, "answer")))

    def measure(model) -> dict:
        size = {"bytes": cost.model_bytes(model), "mflop": round(cost.forward_flops(model.config, 80) / 1e6, 2)}
        return judge(model) | {"nats": answer_bound(model)} | size

    def jobs():
        yield {"units": "dense", "method": "", "share": 0.0}, lambda: measure(dense())
        for units, method, share in STRUCTURED:
            key = {"units": units, "method": method, "share": round(share, 4)}
            yield key, lambda c=(units, method, share): measure(smaller(*c))
        for layer in range(dense().config.n_layers):
            key = {"units": "layer", "method": f"without {layer}", "share": round(1 / 6, 4)}
            yield (
                key,
                lambda i=layer: (
                    measure(structured.remove_layers(dense(), [i])) | {"influence": round(influence()[i], 5)}
                ),
            )

    fill(path, jobs(), say)
