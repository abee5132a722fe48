"""Notebook 06: prune then quantize, quantize then prune, or both in one pass: the same zeros and bits, equal bytes.

"P->Q, Wanda mask" takes the mask that Q->P must take, so the two differ in the order alone. The controls, quantized
alone at as many bytes, stand in `06_search` (uniform).
"""

from dlmlab.compress.joint import footprint, orders
from dlmlab.compress.joint.assembly import unpacked
from dlmlab.compress.joint.orders import Plan
from dlmlab.compress.registry import compress
from dlmlab.measure import difference, store
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.network.codes import QSpec
from dlmlab.study.finalists import BUDGETS, SEEDS, TOLERANCE, assembly, tested

FOUR = QSpec(4, group=64)
ARMS = {
    "P->Q": Plan(FOUR, 0.5),
    "P->Q, Wanda mask": Plan(FOUR, 0.5, prune="wanda"),
    "Q->P": Plan(FOUR, 0.5, order="Q->P"),
    "one pass": Plan(FOUR, 0.5, order="one pass"),
    "P->Q, 8 bits": Plan(QSpec(8), 0.5),
}


def settings() -> list[dict]:
    """List every order, seed by seed."""
    return [{"method": method, "seed": seed} for seed in SEEDS for method in ARMS]


def made(method: str, seed: int):
    """Compress all matrices in an order; packed."""
    found = assembly(seed)
    how = {"statistics": found.statistics, "sequential": False, "packed": True}
    return compress(found.dense, orders.METHOD, ARMS[method], **how)


def run(method: str, seed: int, size: int | None = None) -> dict:
    """Test one order: `bits` a weight of the blocks, scales and masks counted."""
    model = made(method, seed)
    weight = footprint.weigh_model(model)
    matrices = [footprint.weigh(matrix) for block in parts.blocks(model) for matrix in parts.matrices(block).values()]
    bits = 8 * sum(m.bytes for m in matrices) / sum(m.macs for m in matrices)
    for block in parts.blocks(model):
        unpacked(block)
    weights = {"bytes": weight.bytes, "energy": weight.energy, "macs": weight.macs, "bits": round(bits, 4)}
    return weights | {"shapes": [list(parts.shape(b)) for b in parts.blocks(model)]} | tested(model, size=size)


PAIRS = (("P->Q", "one pass"), ("P->Q, Wanda mask", "Q->P"), ("P->Q", "Q->P"))


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Differences of the orders, and of each from three bits for all weights, in nats and points."""
    alone = [row | {"method": "3 bits"} for row in store.select(
        store.read("06_search"), method="uniform", budget=BUDGETS[-1])]  # fmt: skip
    everything = [*rows, *alone]
    found: dict[str, float | str] = {}
    for column, factor in (("nats", 1), ("correct", 100)):
        unit = "nats" if column == "nats" else "points"
        pairs = [*PAIRS, *((name, "3 bits") for name in list(ARMS)[:4])]
        named = {
            f"{a} - {b}": difference.of_rows(everything, {"method": a}, {"method": b}, column=column).times(factor)
            for a, b in pairs
        }
        found |= difference.headlines(f"{unit},", named)
    for method in ARMS:
        mine = store.select(rows, method=method)
        found[f"bits {method}"] = sum(row["bits"] for row in mine) / len(mine)
        found[f"bytes {method}"] = sum(row["bytes"] for row in mine) / len(mine)
    return found


TABLE = Table(
    "06_orders",
    settings,
    run,
    live=({"method": "Q->P", "seed": 0},),
    size=6,
    tolerance=TOLERANCE,
    headlines=headlines,
)
