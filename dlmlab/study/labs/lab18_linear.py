"""Lab 18: every way of few bits that installs beside the course's torch, on one matrix: bytes, error, and time.

`where`: a matrix of LLaDA-mini (block 2, `ff_proj`) with the 64 rows of a text or with one row, or a matrix of
4096 x 4096 with one row. `bytes` and `error` (relative, of the output of 64 normal inputs; three seeds) belong to
nobody; `ratio`, time of float32 in eager torch over that of the way in the same round, with quartiles, belongs to the
machine stored beside it. One thread.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from dlmlab.measure import hardware, lowbit
from dlmlab.measure.onnxfile import quiet
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network import cost
from dlmlab.network.checkpoint import load
from dlmlab.study.labs import lab18_rows as swept

MINI = "ff_proj of LLaDA-mini"
WHERE = {"one text": (MINI, 64), "one row": (MINI, 1), "one row, large": (swept.LARGE, 1)}
WAYS = {name: way for name, way in lowbit.WAYS.items() if name != "float32"}
ROUNDS, BASE = 21, "one text"
KEPT = ("bfloat16", "torch, int4 weights", "torch, int8 x int8")  # always there, and repeated in the notebook


@cache
def matrix(name: str) -> Tensor:
    """Give the matrix of this name, (N, K)."""
    return (
        load("llada-mini").model.model.transformer.blocks[2].ff_proj.weight.detach()
        if name == MINI
        else swept.weights(name)
    )


def run(where: str, way: str, size: int | None = None) -> dict:
    """Measure one row; given a size, only what does not depend on the machine."""
    name, rows = WHERE[where]
    W = matrix(name)
    if not size:
        torch.set_num_threads(1)
    with quiet():
        multiply, held = WAYS[way].make(W)
    found = {"bytes": held, "error": [float(f"{e:.4g}") for e in lowbit.error(multiply, W)] if where == BASE else []}
    if size:
        return found
    x, (plain, _) = torch.randn(rows, W.shape[1], generator=torch.Generator().manual_seed(1)), lowbit.float32(W)
    with quiet(), torch.inference_mode():
        once = min(cost.interleaved({"s": lambda: plain(x)}, rounds=9)["s"])
        times = max(1, round(swept.ENOUGH / once))
        both = {"float32": plain, "way": multiply}
        functions = {name: lambda f=f: [f(x) for _ in range(times)] for name, f in both.items()}
        seconds = cost.interleaved(functions, rounds=ROUNDS, warmup=2)
    each = [a / b for a, b in zip(seconds["float32"], seconds["way"], strict=True)]
    return found | {"ratio": swept.quartiles(each), "machine": hardware.fingerprint()}


def settings() -> list[dict]:
    """List the rows."""
    return [{"where": where, "way": way} for where in WHERE for way in WAYS]


def missing() -> str:
    """Say what measuring everything takes; "" when all is there."""
    return "; ".join(dict.fromkeys(way.missing for way in WAYS.values() if way.missing))


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {"machine": rows[0]["machine"]["processor"], "ways": len(WAYS)}
    for row in rows:
        name = f"{row['way']}, {row['where']}"
        found |= {name: row["ratio"][0], f"{name}, low": row["ratio"][1], f"{name}, high": row["ratio"][2]}
        found |= {f"{name}, word": swept.word(row["ratio"]), f"{name}, bytes": row["bytes"]}
        if row["error"]:
            found[f"{row['way']}, error"] = sum(row["error"]) / len(row["error"])
    for where in WHERE:
        mine = select(rows, where=where)
        for w in ("faster", "slower", "no difference shown"):
            found[f"{where}, {w}"] = sum(swept.word(row["ratio"]) == w for row in mine)
    return found


TABLE = Table(
    "18_linear",
    settings,
    run,
    live=tuple({"where": BASE, "way": way} for way in KEPT),
    size=1,
    tolerance={"error": (0.0003, 0.05)},
    headlines=headlines,
)
