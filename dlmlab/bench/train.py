"""Training: how fast a step of the recipe is, and what compiling and bfloat16 each contribute.

A step is timed with everything it needs: making the problems, masking, forward, backward, optimizer. FLOPs of a step
are three forwards; the peak is what the matrix products of these forwards reach alone (see `machine`).
"""

import tempfile

import torch

from dlmlab import cost
from dlmlab.bench import ROUNDS
from dlmlab.bench.machine import products
from dlmlab.bench.spread import ratios, spread, times
from dlmlab.training import Run, TrainConfig

VARIANTS = {
    "eager, float32": {"compile": False, "bf16": False},
    "eager, bfloat16": {"compile": False, "bf16": True},
    "compiled, float32": {"compile": True, "bf16": False},
    "compiled, bfloat16": {"compile": True, "bf16": True},
}
STEPS = 4  # a round; lengths differ between steps, every variant sees the same ones
BASE = "eager, float32"


def measure(*, quick: bool, say) -> dict:
    """Time rounds of training steps in each variant."""
    threads, found = torch.get_num_threads(), {}
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            name: Run(TrainConfig(name="bench", seed=7, threads=threads, **options), folder)
            for name, options in VARIANTS.items()
            if not (quick and options["compile"])
        }
        rows = 64 * 80
        matmul, flops = products(runs[BASE].model, rows)
        tokens = {name: [] for name in runs}

        def steps(name: str) -> None:
            before = runs[name].tokens
            for _ in range(1 if quick else STEPS):
                runs[name].train_step()
            tokens[name].append(runs[name].tokens - before)

        functions = {name: lambda name=name: steps(name) for name in runs} | {
            "products": lambda: [matmul() for _ in range(3)]
        }
        say("train: compiling and warming up")
        warmup = 1 if quick else 4  # the lengths that occur are compiled
        seconds = cost.interleaved(functions, rounds=3 if quick else ROUNDS, warmup=warmup)
    peak = [3 * flops / s for s in seconds.pop("products")]
    model_flops = cost.forward_flops(runs[BASE].model.config, 80) / 80  # a token
    for name in runs:
        rates = [n / s for n, s in zip(tokens[name][warmup:], seconds[name], strict=True)]
        share = spread([3 * model_flops * r / p for r, p in zip(rates, peak, strict=True)])
        found[name] = {"tokens_per_second": spread(rates), "share_of_peak": share}
    for name, speed in ratios(seconds, BASE).items():
        found[name]["speed"] = speed
    return {"variants": found}


def lines(section: dict) -> list[str]:
    """One line a variant: times as fast as the plain one, share of the peak of its matrix products in float32."""
    found = [f"  {'':22}{'times as fast':>24}{'share of the float32 peak':>28}"]
    for name, row in section["variants"].items():
        found.append(f"  {name:22}{times(row['speed']):>24}{row['share_of_peak'][0]:>28.0%}")
    return found
