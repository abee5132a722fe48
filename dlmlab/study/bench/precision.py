"""Numbers of sixteen bits: are they faster here, and what do they cost in exact match?

bfloat16 pays only where the processor has instructions for it; this is measured, never assumed. Numbers of eight bits,
and models with fewer weights, are in `smaller`.
"""

import copy

import torch

from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.measure.difference import between
from dlmlab.network import cost
from dlmlab.network.checkpoint import load
from dlmlab.study.bench import ROUNDS
from dlmlab.study.bench.spread import ratios, times
from dlmlab.task import tasks

BATCHES = (1, 16, 64)


@torch.inference_mode()
def measure(*, quick: bool, say) -> dict:
    """Time a forward of 80 tokens in each precision, and judge the answers."""
    model, tokenizer = load("llada-mini")
    models, found = {"float32": model, "bfloat16": copy.deepcopy(model).to(torch.bfloat16)}, {"speed": {}}
    for B in BATCHES[: 1 if quick else None]:
        ids = torch.randint(5, 300, (B, 80), generator=torch.Generator().manual_seed(0))
        functions = {name: lambda m=m, ids=ids: m(ids) for name, m in models.items()}
        seconds = cost.interleaved(functions, rounds=3 if quick else ROUNDS, warmup=2)
        found["speed"][str(B)] = ratios(seconds, "float32")
        say(f"precision: batch {B}")
    problems, found["accuracy"] = tasks.load_split("test")[: 8 if quick else 200], {}
    for name, network in models.items():
        result = evaluate.accuracy(network, tokenizer, problems, sampler=Sampler(commit=Threshold(0.9)))
        found["accuracy"][name] = result.correct
        say(f"precision: {name}: exact match {result.exact_match}")
    return found


def lines(section: dict) -> list[str]:
    """One line a precision: times as fast as float32, exact match, difference to float32."""
    found = [f"  {'times as fast as float32':26}" + "".join(f"{'batch ' + k:>24}" for k in section["speed"])]
    base = section["accuracy"]["float32"]
    for name, correct in section["accuracy"].items():
        quality = f"{evaluate.Proportion.of(correct)}, difference {between(correct, base):+.1%}"
        speeds = "".join(f"{times(by[name]):>24}" for by in section["speed"].values())
        found.append(f"  {name:26}{speeds}   {quality}")
    return found
