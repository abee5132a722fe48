"""Training: how fast a step of the recipe is, what each choice in it contributes, and how much of it is padding.

A step is timed with everything it needs: making the problems, masking, forward, backward, optimizer. FLOPs of a step
are three forwards; the peak is what the matrix products of these forwards reach alone (see `machine`). Each variant
differs from the recipe (eager, bfloat16, explicit attention, Muon) in one choice; whether a choice also teaches faster
is the business of `dlmlab.speedrun`.
"""

import tempfile
from dataclasses import dataclass, field

import torch

from dlmlab.network import cost
from dlmlab.objective.batches import Batches, TrainConfig
from dlmlab.objective.training import Run
from dlmlab.study.bench import ROUNDS
from dlmlab.study.bench.machine import products
from dlmlab.study.bench.spread import ratios, spread, times


@dataclass(frozen=True)
class Variant:
    """Options of the recipe. `fused`: attention with the fused kernel, forward and backward."""

    options: dict = field(default_factory=dict)
    fused: bool = False

    def start(self, threads: int, folder: str) -> Run:
        """Make the run."""
        options = {"compile": False} | self.options
        run = Run(TrainConfig(name="bench", seed=7, threads=threads, **options), folder)
        run.kernel = "fused" if self.fused else run.kernel
        return run


BASE = "eager, bfloat16"
VARIANTS = {
    BASE: Variant(),
    "float32": Variant({"bf16": False}),
    "compiled": Variant({"compile": True}),
    "fused attention": Variant(fused=True),
    "AdamW": Variant({"optimizer": "adamw"}),
    "packed rows of 96": Variant({"context": 96}),
    "lengths of 4, not 16": Variant({"multiple": 4}),
    "32 rows a step": Variant({"rows": 32}),
}
STEPS = 4  # a round; lengths differ between steps, every variant of like rows sees the same ones
MULTIPLES = (16, 4)  # of which the length of a batch is one
COUNTED = 64  # steps over which padding is counted


def measure(*, quick: bool, say) -> dict:
    """Time rounds of training steps in each variant."""
    threads, found = torch.get_num_threads(), {}
    variants = {name: v for name, v in VARIANTS.items() if not (quick and v.options.get("compile"))}
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: variant.start(threads, folder) for name, variant in variants.items()}
        matmul, flops = products(runs[BASE].model, 64 * 80)
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
        taken = tokens[name][warmup:]
        seconds[name] = [s / n for s, n in zip(seconds[name], taken, strict=True)]  # a token: rounds differ in length
        rates = [1 / s for s in seconds[name]]
        share = spread([3 * model_flops * r / p for r, p in zip(rates, peak, strict=True)])
        found[name] = {"tokens_per_second": spread(rates), "share_of_peak": share}
    for name, speed in ratios(seconds, BASE).items():
        found[name]["speed"] = speed
    padded = {f"{m}": padding(TrainConfig(name="bench", seed=7, multiple=m)) for m in MULTIPLES}
    return {"precision": runs[BASE].precision, "variants": found, "padding": padded}


def padding(config: TrainConfig) -> float:
    """Share of the tokens of the first steps that stand after the first end mark of their row.

    Not all of it is waste: the tail teaches how an answer ends. Packed rows have none.
    """
    batches, paid, needed = Batches(config), 0, 0
    for step in range(COUNTED):
        ends = batches(step).targets == batches.tokenizer.eos_token_id  # (B, L)
        paid += ends.numel()
        needed += int((~ends | (ends.cumsum(1) == 1)).sum())
    return round(1 - needed / paid, 4)


def lines(section: dict) -> list[str]:
    """One line a variant: times as fast per token as the recipe, share of the peak of its products in float32."""
    found = [f"  {'':22}{'tokens a second, times ' + BASE:>40}{'share of the float32 peak':>28}"]
    for name, row in section["variants"].items():
        found.append(f"  {name:22}{times(row['speed']):>40}{row['share_of_peak'][0]:>28.0%}")
    if section.get("precision") == "float32":
        found.append("  this machine has no instructions for bfloat16: every line was computed in float32")
    wide, narrow = (section["padding"][f"{m}"] for m in MULTIPLES)
    return [*found, f"  with one problem a row, {wide:.0%} of the tokens are padding ({narrow:.0%} with lengths of 4)"]
