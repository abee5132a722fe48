"""Notebook 05: which ways of few bits run faster on this machine: one forward of 80 tokens, timed in turn.

`ratio` is the time of a forward over that of the float32 model in the same round, with quartiles; it belongs to the
machine that is stored beside it. `bytes` and `error` (relative, of the logits) do not. Every row is timed in a process
of its own, with all that the processor can do (`isa` "all") or as one without AVX512 would compute ("AVX2"): the same
machine, the same code, other instructions.
"""

import copy
import json
import os
import subprocess
import sys
from functools import cache

import torch
from torch import nn

from dlmlab.compress import registry, storage
from dlmlab.compress.quant.grids import quantize
from dlmlab.compress.quant.int8 import WEIGHT, Int8Linear, available
from dlmlab.measure import hardware, lowbit
from dlmlab.measure.table import Table
from dlmlab.network import cost, parts
from dlmlab.network.packed import replace
from dlmlab.study.judging import dense
from dlmlab.study.nb05_methods import spec

BATCHES, LENGTH, ROUNDS = (1, 16, 64), 80, 9
BASE = "float32"
ISA = {
    "all": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
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
        try:
            return lowbit.torch_dynamic_model(dense())
        except ImportError:
            return None
    if way == "int8, whole-number products":
        return whole_numbers()
    return registry.compress(dense(), "rtn", spec(int(way.split()[1])), packed=True)


def bytes_of(model: nn.Module) -> int:
    """Count the bytes of a model; PyTorch's own packed matrices hide theirs, so theirs are counted by what they hold:
    codes of 8 bits, and a scale and a zero point a matrix."""
    hidden = [m.weight() for m in model.modules() if callable(getattr(m, "weight", None))]
    return storage.model_bytes(model) + sum(w.numel() + 16 for w in hidden)


def inputs(batch: int) -> torch.Tensor:
    """Draw a batch of texts, (batch, LENGTH); a forward takes as long for any."""
    return torch.randint(5, 300, (batch, LENGTH), generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def timed(way: str, batch: int) -> dict:
    """Time one way against float32 in this process; no ratio where this PyTorch has not got it."""
    model, ids = made(way), inputs(batch)
    machine = hardware.fingerprint() | {"int_mm": available()}
    if model is None:
        return {"machine": machine, "ratio": []}
    functions = {BASE: lambda: dense()(ids), way: lambda: model(ids)}
    seconds = cost.interleaved(functions, rounds=ROUNDS, warmup=2)
    r = cost.ratio(seconds[way], seconds[BASE])
    return {"machine": machine, "ratio": [round(v, 3) for v in (r.median, r.low, r.high)]}


@torch.inference_mode()
def run(way: str, batch: int, isa: str, size: int | None = None) -> dict:
    """Time one way in a process with these instructions; given a size, only what does not depend on the machine."""
    model, ids, found = made(way), inputs(1), {"bytes": 0, "error": 0.0}
    if model is not None:
        mine, theirs = dense()(ids).logits, model(ids).logits.float()
        found = {"bytes": bytes_of(model), "error": round(float((theirs - mine).norm() / mine.norm()), 4)}
    if size:
        return found
    code = f"import json; from dlmlab.study import nb05_speed as s; print(json.dumps(s.timed({way!r}, {batch})))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | ISA[isa], capture_output=True, encoding="utf-8", check=True
    )
    return found | json.loads(done.stdout.splitlines()[-1])


def word(ratio: list[float]) -> str:
    """Say "faster" or "slower" where the quartiles and the median are on one side of float32.

    >>> word([0.87, 0.84, 0.91]), word([1.1, 0.9, 1.3])
    ('faster', 'no difference shown')
    """
    _, low, high = ratio
    return "faster" if high < 1 else "slower" if low > 1 else "no difference shown"


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Name what pages quote: times as long as float32, by way, batch and instructions; and the machine."""
    found: dict[str, float | str] = {"machine": rows[0]["machine"]["processor"]}
    for row in rows:
        if row["ratio"]:
            name = f"{row['way']}, batch {row['batch']}, {row['isa']}"
            found |= {name: row["ratio"][0], f"{name}, low": row["ratio"][1], f"{name}, high": row["ratio"][2]}
            found |= {f"{name}, word": word(row["ratio"]), f"{row['way']}, kB": row["bytes"] / 1000}
    return found


TABLE = Table(
    "05_speed",
    lambda: [{"way": way, "batch": batch, "isa": isa} for isa in ISA for batch in BATCHES for way in WAYS],
    run,
    live=(
        {"way": "packed 4 bits", "batch": 1, "isa": "all"},
        {"way": "int8, whole-number products", "batch": 1, "isa": "AVX2"},
    ),
    size=1,
    tolerance={"error": (0.02, 0.2)},
    headlines=headlines,
)
