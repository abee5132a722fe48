"""Notebook 06: milliseconds of a forward, of blocks by shape and of whole models: does a sum of blocks predict them?

All rows are measured together, in turn, so an interrupted measurement begins again. Of another machine the table says
nothing; what is repeated live is what does not depend on one.
"""

import statistics
from functools import cache

import torch

from dlmlab.compress.joint import latency, search
from dlmlab.compress.joint.latency import DEEP, SHALLOW, Latency, Shape
from dlmlab.compress.joint.options import Option
from dlmlab.measure import hardware, store
from dlmlab.measure.table import Table
from dlmlab.network import cost
from dlmlab.study.finalists import assembly
from dlmlab.study.judging import dense

SHAPES: tuple[Shape, ...] = ((6, 512), (6, 384), (6, 256), (4, 512), (4, 256))
MODELS, BATCH, TOKENS, ROUNDS = 6, 16, 80, 15
PACKED = "4 bits, unpacked at every forward"


def mixed() -> list[list[Shape]]:
    """Draw models of mixed shapes, of three to six blocks."""
    generator = torch.Generator().manual_seed(3)
    picks = search.random_choices([len(SHAPES)] * 6, MODELS, generator)
    return [[SHAPES[i] for i in pick][: 3 + number % 4] for number, pick in enumerate(picks)]


def settings() -> list[dict]:
    """List the blocks, the mixed models, and the dense model beside itself in packed form."""
    blocks = [{"kind": "block", "name": f"{heads} heads, {neurons} neurons"} for heads, neurons in SHAPES]
    models = [{"kind": "model", "name": f"mixed {number}"} for number in range(MODELS)]
    return [*blocks, *models, {"kind": "model", "name": "dense"}, {"kind": "model", "name": PACKED}]


def shapes_of(kind: str, name: str) -> list[Shape]:
    """Give the shapes of the blocks of a row."""
    if kind == "block":
        heads, _, neurons, _ = name.split()
        return [(int(heads), int(neurons))]
    return mixed()[int(name.split()[1])] if name.startswith("mixed") else [SHAPES[0]] * 6


@cache
def timed() -> dict:
    """Time everything in turn: {name: milliseconds of every round}; a block is timed in models of two depths."""
    config = dense().config
    models = {(shape, depth): latency.shaped(config, [shape] * depth) for shape in SHAPES for depth in (SHALLOW, DEEP)}
    models |= {f"mixed {number}": latency.shaped(config, shapes) for number, shapes in enumerate(mixed())}
    packed = assembly(0).model(dict.fromkeys(assembly(0).places, Option(4, 64)), packed=True)
    models |= {"dense": dense(), PACKED: packed}
    return latency.milliseconds(models, config, batch=BATCH, tokens=TOKENS, rounds=ROUNDS)


def run(kind: str, name: str, size: int | None = None) -> dict:
    """Give one row: milliseconds (`ms`, quartiles `low` and `high`) and the share of the dense model's, in the same
    rounds; `mflop` of a row of the batch."""
    shapes, config = shapes_of(kind, name), dense().config
    model = latency.shaped(config, shapes).config
    flops = {"mflop": round((cost.forward_flops(model, TOKENS) - cost.head_flops(model, TOKENS)) / 1e6, 2)}
    if size:
        return flops
    found = timed()
    if kind == "block":
        pairs = zip(found[shapes[0], DEEP], found[shapes[0], SHALLOW], strict=True)
        series = [(deep - shallow) / (DEEP - SHALLOW) for deep, shallow in pairs]
    else:
        series = found[name]
    share = [ms / whole for ms, whole in zip(series, found["dense"], strict=True)]
    low, middle, high = statistics.quantiles(series, n=4)
    extra = {"ms": middle, "low": low, "high": high, "share": statistics.median(share)}
    return flops | {k: round(v, 4) for k, v in extra.items()} | {"machine": hardware.fingerprint()}


def table(rows: list[dict] | None = None) -> Latency:
    """Read the stored times of blocks as a table that predicts those of models."""
    rows = store.read("06_latency") if rows is None else rows
    blocks = {shapes_of("block", row["name"])[0]: row["ms"] for row in rows if row["kind"] == "block"}
    (whole,) = store.select(rows, name="dense")
    rest = whole["ms"] - 6 * blocks[SHAPES[0]]
    return Latency(BATCH, TOKENS, max(rest, 0.0), blocks, whole["machine"])


def predicted(rows: list[dict]) -> list[tuple[float, float]]:
    """Give the time of each mixed model as the table predicts it, and as it was measured."""
    times = table(rows)
    mine = [row for row in rows if row["name"].startswith("mixed")]
    return [(times.forward(shapes_of("model", row["name"])), row["ms"]) for row in mine]


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Shares of the dense block, the worst error of the sums, and what packed weights cost."""
    by_name = {row["name"]: row for row in rows}
    full = by_name["6 heads, 512 neurons"]["ms"]
    errors = [abs(guess / ms - 1) for guess, ms in predicted(rows)]
    shares = {f"share of {row['name']}": row["ms"] / full for row in rows if row["kind"] == "block"}
    worst = {"worst error of a sum": 100 * max(errors), "median error of a sum": 100 * statistics.median(errors)}
    order = ", ".join(f"{a} before {b}" for a, b in table(rows).disorder()) or "none"
    return shares | worst | {"packed, times as long": by_name[PACKED]["share"], "out of order": order}


TABLE = Table(
    "06_latency",
    settings,
    run,
    live=({"kind": "block", "name": "4 heads, 256 neurons"}, {"kind": "model", "name": "mixed 2"}),
    size=1,
    headlines=headlines,
)
