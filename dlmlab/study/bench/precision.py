"""Numbers with fewer bits, and a narrower network: what is faster here, and what it costs in exact match.

bfloat16 pays only where the processor has instructions for it; this is measured, never assumed. int8 is PyTorch's
dynamic quantization: weights in 8 bits, activations scaled on the fly. Narrower networks have random weights: they
show the time that structured pruning could save, not its accuracy.
"""

import copy
import warnings

import torch

from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.measure.difference import between
from dlmlab.network import cost
from dlmlab.network.checkpoint import load
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.bench import ROUNDS
from dlmlab.study.bench.spread import ratios, times
from dlmlab.task import tasks

HIDDEN = (384, 256, 128)  # feed-forward widths; LLaDA-mini has 512
BATCHES = (1, 16, 64)


def variants() -> dict[str, torch.nn.Module]:
    """Make the trained model in each precision, and narrower untrained ones."""
    model, _ = load("llada-mini")
    found = {"float32": model, "bfloat16": copy.deepcopy(model).to(torch.bfloat16)}
    if (quantized := int8(model)) is not None:
        found["int8, dynamic"] = quantized
    for width in HIDDEN:
        sizes = {k: getattr(model.config, k) for k in ("d_model", "n_heads", "n_layers", "vocab_size")}
        found[f"feed-forward {width}"] = LLaDAModelLM(LLaDAConfig(**sizes, mlp_hidden_size=width)).eval()
    return found


def int8(model: torch.nn.Module) -> torch.nn.Module | None:
    """Quantize the linear layers dynamically; None where this PyTorch has no such function."""
    try:
        from torch.ao.quantization import quantize_dynamic
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its own removal
        return quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)


@torch.inference_mode()
def measure(*, quick: bool, say) -> dict:
    """Time a forward of 80 tokens in each variant, and judge the trained ones."""
    _, tokenizer = load("llada-mini")
    models, found = variants(), {"speed": {}, "accuracy": {}}
    for B in BATCHES:
        ids = torch.randint(5, 300, (B, 80), generator=torch.Generator().manual_seed(0))
        functions = {name: lambda m=m, ids=ids: m(ids) for name, m in models.items()}
        seconds = cost.interleaved(functions, rounds=3 if quick else ROUNDS, warmup=2)
        found["speed"][str(B)] = ratios(seconds, "float32")
        say(f"precision: batch {B}")
    problems = tasks.load_split("test")[: 8 if quick else 200]
    for name, model in models.items():
        if not name.startswith("feed-forward"):
            sampler = Sampler(commit=Threshold(0.9))
            result = evaluate.accuracy(model, tokenizer, problems, sampler=sampler)
            found["accuracy"][name] = result.correct
            say(f"precision: {name}: exact match {result.exact_match}")
    return found


def lines(section: dict) -> list[str]:
    """One line a variant: times as fast as float32, exact match, difference to float32."""
    found = [f"  {'times as fast as float32':26}" + "".join(f"{'batch ' + k:>24}" for k in section["speed"])]
    base = section["accuracy"]["float32"]
    for name in section["speed"]["1"]:
        quality = "untrained"
        if correct := section["accuracy"].get(name):
            quality = f"{evaluate.Proportion.of(correct)}, difference {between(correct, base):+.1%}"
        speeds = "".join(f"{times(by[name]):>24}" for by in section["speed"].values())
        found.append(f"  {name:26}{speeds}   {quality}")
    return found
