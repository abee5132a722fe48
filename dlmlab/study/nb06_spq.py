"""Notebook 06: SPQ audited: what each stage contributes in real bytes, and what fine-tuning is worth.

At the published 96 % no matrix of LLaDA-mini is factorized (S changes nothing), so a second line takes 90 %. Stages
alone have one seed. Fine-tuned: as many steps of the dense model on the same batches are the control.
"""

from functools import cache

from dlmlab.compress import recovery
from dlmlab.compress.joint import spq
from dlmlab.compress.joint.assembly import Calibration
from dlmlab.compress.joint.spq import Compressed
from dlmlab.measure import difference
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.network.checkpoint import load
from dlmlab.study.finalists import SEEDS, TOLERANCE, tested
from dlmlab.study.judging import dense

LOWER = 0.9  # of the energy
STEPS, ROWS, RATE = 30, 16, 1e-4
ONCE = ("dense", "S", "Q", "S+P", "S at 90 %")
SEEDED = ("S+P+Q", "S+P+Q at 90 %")
TUNED = ("S+P+Q, fine-tuned", "dense, fine-tuned")


def settings() -> list[dict]:
    """List the stages, the lower energy, and fine-tuning with its control."""
    once = [{"method": m, "seed": 0} for m in ONCE]
    return once + [{"method": m, "seed": s} for group in (SEEDED, TUNED) for s in SEEDS for m in group]


@cache
def stages(seed: int, energy: float = spq.ENERGY) -> dict[str, Compressed]:
    """Compress in three stages."""
    return spq.spq(dense(), Calibration(seed=seed).states(load("llada-mini").tokenizer), energy=energy)


def tuned(model, seed: int):
    """Fine-tune a model on training problems, which no other split has."""
    return recovery.recover(model, recovery.recipe(STEPS, rows=ROWS, lr=RATE, seed=1 + seed), steps=STEPS)


def made(method: str, seed: int) -> Compressed:
    """Make the model of a row."""
    whole = spq.again(dense(), {}, {}, quantized=False)
    if method == "dense":
        return whole
    if method == "dense, fine-tuned":
        return spq.again(tuned(dense(), seed), {}, {}, quantized=False)
    if method == "Q":
        return spq.round_off(whole)
    found = stages(seed, LOWER if method.endswith("90 %") else spq.ENERGY)
    if method == "S+P+Q, fine-tuned":
        before = found["S+P"]
        return spq.again(tuned(before.model, seed), before.ranks, before.removed, quantized=True)
    return found[method.removesuffix(" at 90 %")]


def run(method: str, seed: int, size: int | None = None) -> dict:
    """Test one row: `bytes`, the number of `factorized` matrices and of neurons `removed`."""
    found = made(method, seed)
    counts = {"bytes": found.bytes, "factorized": len(found.ranks), "removed": sum(found.removed.values())}
    shapes = {"shapes": [list(parts.shape(block)) for block in parts.blocks(found.model)]}
    return counts | shapes | tested(found.model, size=size)


def contributions(rows: list[dict]) -> dict[str, float]:
    """Points of the dense bytes that each stage takes away, in its place in the order, and all together."""
    size = {m: sum(r["bytes"] for r in select(rows, method=m)) / len(select(rows, method=m)) for m in (*ONCE, *SEEDED)}
    whole = size["dense"]
    takes = {"S": whole - size["S"], "P": size["S"] - size["S+P"], "Q": size["S+P"] - size["S+P+Q"]}
    takes |= {"S+P+Q": whole - size["S+P+Q"], "Q alone": whole - size["Q"], "S at 90 %": whole - size["S at 90 %"]}
    return {stage: 100 * bytes_ / whole for stage, bytes_ in takes.items()}


PAIRS = (
    ("S+P", "dense"), ("Q", "dense"), ("S+P+Q", "dense"), ("S+P+Q", "Q"), ("S+P+Q at 90 %", "S+P+Q"),
    ("S+P+Q, fine-tuned", "S+P+Q"), ("dense, fine-tuned", "dense"), ("S+P+Q, fine-tuned", "dense, fine-tuned"),
)  # fmt: skip


def compared(rows: list[dict], a: str, b: str, column: str = "nats") -> difference.Difference:
    """Difference of two rows; one without seeds stands beside every seed of the other."""
    spread = [row | {"seed": seed} for row in rows for seed in (SEEDS if row["method"] in ONCE else (row["seed"],))]
    found = difference.of_rows(spread, {"method": a}, {"method": b}, column=column)
    return found if column == "nats" else found.times(100)


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Points of the bytes by stage; differences in nats and in points of exact match."""
    found: dict[str, float | str] = {f"points of {stage}": v for stage, v in contributions(rows).items()}
    for column, unit in (("nats", "nats"), ("correct", "points")):
        found |= difference.headlines(f"{unit},", {f"{a} - {b}": compared(rows, a, b, column) for a, b in PAIRS})
    return found


TABLE = Table(
    "06_spq",
    settings,
    run,
    live=({"method": "S+P+Q", "seed": 1}, {"method": "S at 90 %", "seed": 0}),
    size=8,
    tolerance=TOLERANCE,
    headlines=headlines,
)
