"""Lab 18: one forward of LLaDA-mini, 96 tokens of one text, in other runtimes: times as fast as torch in float32.

`ratio`, time of a forward of torch in float32 over that of the runtime in the same round, with quartiles, belongs to
the machine stored beside it. Which files these are, and whether they say the right thing: `lab18_files`.
"""

from collections.abc import Sequence

import torch

from dlmlab.measure import hardware, llamacpp, onnxfile
from dlmlab.measure.onnxfile import quiet
from dlmlab.measure.table import Table
from dlmlab.network import cost
from dlmlab.study.labs import lab18_files as files
from dlmlab.study.labs import lab18_rows as swept

LENGTH, ROUNDS = 96, 21
READERS = {
    "torch": ("bfloat16", "int8"),
    "onnxruntime": ("float32", "int8"),
    "llama.cpp": ("F32", "F16", "Q8_0", "Q4_1", "Q4_0", "Q4_K_M", "Q2_K"),
}


@torch.inference_mode()
def run(runtime: str, kind: str, threads: int, size: int | None = None) -> dict:
    """Time one runtime; given a size, say only how many operations the forward takes."""
    found = {"operations": cost.forward_flops(files.mini().model.config, LENGTH)}
    if size:
        return found
    torch.set_num_threads(threads)
    ids = torch.randint(5, 300, (1, LENGTH), generator=torch.Generator().manual_seed(0))
    base = files.of_model(files.mini().model)
    with files.opened(runtime, kind, threads=threads) as (denoise, _), quiet():
        functions = {
            "torch": lambda: [base(ids, None) for _ in range(2)],
            "it": lambda: [denoise(ids, None) for _ in range(2)],
        }
        seconds = cost.interleaved(functions, rounds=ROUNDS, warmup=3)
    each = [a / b for a, b in zip(seconds["torch"], seconds["it"], strict=True)]
    return found | {"ratio": swept.quartiles(each), "machine": hardware.fingerprint()}


def settings() -> list[dict]:
    """List the rows."""
    return [
        {"runtime": runtime, "kind": kind, "threads": threads}
        for threads in (1,)  # with two, on a machine that others used, quartiles were a factor apart
        for runtime, kinds in READERS.items()
        for kind in kinds
    ]


def missing() -> str:
    """Say what measuring everything takes; "" when all is there."""
    return "; ".join(sentence for sentence in (onnxfile.missing(), llamacpp.missing()) if sentence)


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {"machine": rows[0]["machine"]["processor"]}
    for row in rows:
        name = f"{row['runtime']}, {row['kind']}, {row['threads']}"
        found |= {name: row["ratio"][0], f"{name}, low": row["ratio"][1], f"{name}, high": row["ratio"][2]}
        found[f"{name}, word"] = swept.word(row["ratio"])
    return found


TABLE = Table(
    "18_runtimes",
    settings,
    run,
    live=({"runtime": "torch", "kind": "bfloat16", "threads": 1},),
    size=1,
    headlines=headlines,
)
