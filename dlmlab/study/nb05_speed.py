"""Notebook 05: which ways of few bits run faster on this machine: one forward of 80 tokens, timed in turn.

`ratio` is the time of a forward over that of the float32 model in the same round, with quartiles; it belongs to the
machine that is stored beside it. `bytes` and `error` (relative, of the logits) do not.
"""

import copy
from functools import cache

import torch
from torch import nn

from dlmlab.compress import registry, storage
from dlmlab.compress.quant.grids import quantize
from dlmlab.compress.quant.int8 import WEIGHT, Int8Linear, available
from dlmlab.measure import hardware
from dlmlab.measure.table import Table
from dlmlab.network import cost, parts
from dlmlab.network.packed import replace
from dlmlab.study.bench.precision import int8
from dlmlab.study.judging import dense
from dlmlab.study.nb05_methods import spec

BATCHES, LENGTH, ROUNDS = (1, 16, 64), 80, 9
BASE = "float32"
WAYS = ("bfloat16", "int8, dynamic", "int8, whole-number products", "packed 8 bits", "packed 4 bits")


def whole_numbers() -> nn.Module:
    """Replace every block matrix by one that multiplies int8 (W8A8)."""
    model = copy.deepcopy(dense())
    for block in parts.blocks(model):
        for name, matrix in parts.matrices(block).items():
            replace(block, name, Int8Linear(quantize(matrix.weight.detach(), WEIGHT)))
    return model


@cache
def made(way: str) -> nn.Module | None:
    """Make the model of one way; None where this PyTorch has not got it."""
    if way == "bfloat16":
        return copy.deepcopy(dense()).to(torch.bfloat16)
    if way == "int8, dynamic":
        return int8(dense())
    if way == "int8, whole-number products":
        return whole_numbers()
    return registry.compress(dense(), "rtn", spec(int(way.split()[1])), packed=True)


def bytes_of(model: nn.Module) -> int:
    """Count the bytes of a model; PyTorch's own packed matrices hide theirs, so theirs are counted by what they hold:
    codes of 8 bits, and a scale and a zero point a matrix."""
    hidden = [m.weight() for m in model.modules() if callable(getattr(m, "weight", None))]
    return storage.model_bytes(model) + sum(w.numel() + 16 for w in hidden)


@torch.inference_mode()
def run(way: str, batch: int, size: int | None = None) -> dict:
    """Time one way against float32; given a size, only what does not depend on the machine."""
    model, ids = made(way), torch.randint(5, 300, (batch, LENGTH), generator=torch.Generator().manual_seed(0))
    if model is None:
        return {"machine": "", "ratio": [], "bytes": 0, "error": 0.0}
    mine, theirs = dense()(ids[:1]).logits, model(ids[:1]).logits.float()
    found = {"bytes": bytes_of(model), "error": round(float((theirs - mine).norm() / mine.norm()), 4)}
    if size:
        return found
    functions = {BASE: lambda: dense()(ids), way: lambda: model(ids)}
    seconds = cost.interleaved(functions, rounds=ROUNDS, warmup=2)
    r = cost.ratio(seconds[way], seconds[BASE])
    machine = hardware.fingerprint() | {"int_mm": available()}
    return {"machine": machine, "ratio": [round(v, 3) for v in (r.median, r.low, r.high)]} | found


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Name what pages quote: times as long as float32, by way and batch."""
    found: dict[str, float | str] = {}
    for row in rows:
        if row["ratio"]:
            name = f"{row['way']}, batch {row['batch']}"
            found |= {name: row["ratio"][0], f"{name}, low": row["ratio"][1], f"{name}, high": row["ratio"][2]}
            found[f"{row['way']}, kB"] = row["bytes"] / 1000
    return found


TABLE = Table(
    "05_speed",
    lambda: [{"way": way, "batch": batch} for batch in BATCHES for way in WAYS],
    run,
    live=({"way": "packed 4 bits", "batch": 1}, {"way": "int8, whole-number products", "batch": 1}),
    size=1,
    tolerance={"error": (0.02, 0.2)},
    headlines=headlines,
)
