"""Notebook 06: prune then quantize, quantize then prune, or both in one pass: the same zeros and bits, equal bytes.

"P->Q, Wanda mask" takes the mask that Q->P must take and repairs no zero, so the two differ in the order alone.
`REPAIRED`: the mask of either order, by Wanda's scores of float or of rounded weights, and then a quantizer that
repairs zeros and rounding alike. The controls, quantized alone at as many bytes, stand in `06_search` (uniform).
`NEURONS`: whole neurons leave in place of single weights, which needs no mask; one model for each budget.
"""

import functools

import torch
from torch import Tensor

from dlmlab.compress.activations import Statistics
from dlmlab.compress.joint import footprint, orders
from dlmlab.compress.joint.assembly import unpacked
from dlmlab.compress.joint.options import GROUP, Option
from dlmlab.compress.joint.orders import Plan
from dlmlab.compress.quant import gptq
from dlmlab.compress.registry import Method, compress
from dlmlab.compress.scores import wanda_scores
from dlmlab.compress.selection import select
from dlmlab.measure import difference, store
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.network.codes import QSpec, Quantized, dequantize
from dlmlab.study.finalists import BUDGETS, SEEDS, TOLERANCE, about, assembly, tested
from dlmlab.study.nb06_search import UNIFORM

FOUR = QSpec(4, group=64)
ARMS = {
    "P->Q": Plan(FOUR, 0.5),
    "P->Q, Wanda mask": Plan(FOUR, 0.5, prune="wanda"),
    "Q->P": Plan(FOUR, 0.5, order="Q->P"),
    "one pass": Plan(FOUR, 0.5, order="one pass"),
    "P->Q, 8 bits": Plan(QSpec(8), 0.5),
}
REPAIRED = ("P->Q, Wanda mask, repaired", "Q->P, repaired")


def neurons(bits: int, share: float) -> Option:
    """A block that loses a share of its neurons and stores the rest in few bits."""
    return Option(bits, GROUP, units="neurons", share=share)


NEURONS = {  # by the budget that they meet: options, one a block
    "3 bits, neurons 50%, first block 62%": [neurons(3, 0.625), *[neurons(3, 0.5)] * 5],
    "3 bits, neurons 25%": [neurons(3, 0.25)] * 6,
    "4 bits, neurons 38%": [neurons(4, 0.375)] * 6,
}


def settings() -> list[dict]:
    """List every order, seed by seed; then neurons in place of weights."""
    groups = (ARMS, NEURONS, REPAIRED)
    return [{"method": method, "seed": seed} for some in groups for seed in SEEDS for method in some]


def made(method: str, seed: int):
    """Compress all matrices in an order; packed."""
    found = assembly(seed)
    if method in NEURONS:
        return found.model(dict(zip(found.places, NEURONS[method], strict=True)), packed=True)
    how = {"statistics": found.statistics, "sequential": False, "packed": True}
    if method in REPAIRED:
        apply = functools.partial(_repaired, rounded=method == REPAIRED[1])
        return compress(found.dense, Method(method, "gram", apply), FOUR, **how)
    return compress(found.dense, orders.METHOD, ARMS[method], **how)


def _repaired(
    W: Tensor, statistics: Statistics, spec: QSpec, generator: torch.Generator | None, *, rounded: bool
) -> Quantized:
    """Remove half of a matrix by Wanda's scores, of the `rounded` weights or of the floats, and round what is left."""
    scored = dequantize(gptq.gptq(W, statistics, spec)) if rounded else W
    return gptq.gptq(W, statistics, spec, removed=select(wanda_scores(scored, statistics.rms), 0.5, "row"))


def run(method: str, seed: int, size: int | None = None) -> dict:
    """Test one order: `bits` a weight of the blocks, scales and masks counted."""
    model = made(method, seed)
    weight = footprint.weigh_model(model)
    matrices = [footprint.weigh(matrix) for block in parts.blocks(model) for matrix in parts.matrices(block).values()]
    bits = 8 * sum(m.bytes for m in matrices) / sum(m.macs for m in matrices)
    for block in parts.blocks(model):
        unpacked(block)
    weights = {"bytes": weight.bytes, "energy": weight.energy, "macs": weight.macs, "bits": round(bits, 4)}
    shapes = {"shapes": [list(parts.shape(b)) for b in parts.blocks(model)]}
    return about(weights, size) | shapes | tested(model, size=size)


PAIRS = (
    ("P->Q", "one pass"), ("P->Q, Wanda mask", "Q->P"), ("P->Q", "Q->P"), (REPAIRED[0], "Q->P"),
    (REPAIRED[0], REPAIRED[1]), (REPAIRED[1], "Q->P"), (REPAIRED[0], "P->Q"),
)  # fmt: skip


def beside(rows: list[dict]) -> list[dict]:
    """Add what has as many bytes, out of `06_search`: one option for all blocks, under the name of the option ("3
    bits"), and the knapsack's choice under each budget ("knapsack, 1.25 MB")."""
    found = [*rows]
    for budget in BUDGETS:
        for method, name in (("uniform", UNIFORM[budget]), ("knapsack", f"knapsack, {budget / 1e6:.2f} MB")):
            same = store.select(store.read("06_search"), method=method, budget=budget)
            found += [row | {"method": name} for row in same]
    return found


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Differences of the orders, of each from three bits for all weights, and of models without neurons from what has
    as many bytes, in nats and points."""
    everything = beside(rows)
    pairs = [*PAIRS, *((name, "3 bits") for name in list(ARMS)[:4])]
    for name, budget in zip(NEURONS, BUDGETS, strict=True):
        pairs += [(name, UNIFORM[budget]), (name, f"knapsack, {budget / 1e6:.2f} MB")]
    found: dict[str, float | str] = {}
    for column, unit, factor in (("nats", "nats", 1), ("correct", "points", 100)):
        named = {
            f"{a} - {b}": difference.of_rows(everything, {"method": a}, {"method": b}, column=column).times(factor)
            for a, b in pairs
        }
        found |= difference.headlines(f"{unit},", named)
    for method in (*ARMS, *NEURONS, *REPAIRED):
        mine = store.select(rows, method=method)
        found[f"bits {method}"] = sum(row["bits"] for row in mine) / len(mine)
        found[f"bytes {method}"] = sum(row["bytes"] for row in mine) / len(mine)
    return found


TABLE = Table(
    "06_orders",
    settings,
    run,
    live=({"method": "Q->P", "seed": 0}, {"method": "4 bits, neurons 38%", "seed": 1}),
    size=6,
    tolerance=TOLERANCE,
    headlines=headlines,
)
