"""Notebook 06: what each option costs alone: nats of validation problems, bytes, multiplications, energy proxy.

One place is changed at a time, blocks by every option that a search may choose, matrices by the hardest; with one seed
also without repair. The row "float" is the dense model.
"""

from dataclasses import replace

import numpy as np

from dlmlab.compress.joint import options
from dlmlab.compress.joint.options import FLOAT, GROUP, Option
from dlmlab.measure import difference
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.study.finalists import NAMES, SEARCHED, SEEDS, TOLERANCE, assembly, validation

HARD = Option(2, GROUP)  # for single matrices: what the milder ones cost drowns in the noise of the masks
PLAIN = (Option(3, GROUP, repair=False), Option(4, GROUP, 0.5, repair=False))
ALL = (Option(FLOAT), *SEARCHED, *PLAIN)
LAYERS = 6


def settings() -> list[dict]:
    """List the dense model and every block with every option, seed by seed; then matrices, and no repair."""
    blocks = options.layers(LAYERS)
    rows = []
    for seed in SEEDS:
        rows.append(("model", str(Option()), seed))
        rows += [(place, name, seed) for place in blocks for name in NAMES]
    rows += [(place, str(option), 0) for option in PLAIN for place in blocks]
    rows += [(place, str(HARD), 0) for place in options.matrices(LAYERS)]
    return [dict(zip(("place", "option", "seed"), row, strict=True)) for row in rows]


def run(place: str, option: str, seed: int, size: int | None = None) -> dict:
    """Measure one option at one place; `bytes`, `macs` and `energy` are those of the place."""
    made, chosen = assembly(seed), options.named(option, ALL)
    choice = {} if place == "model" else {place: chosen}
    nats = [round(v, 5) for v in validation(seed).nats(made.model(choice), size)]
    weight = made.weigh({}) if place == "model" else made.part(place, chosen).weight
    return {"nats": nats, "bytes": weight.bytes, "macs": weight.macs, "energy": weight.energy}


def table(rows: list[dict], seed: int) -> tuple[list[list[float]], list[list[int]]]:
    """Give what a search works with: change in nats, and bytes, of every block (rows) under every option (columns)."""
    rows = [row for row in rows if row["seed"] == seed]
    (dense,) = select(rows, place="model")
    by_key = {(row["place"], row["option"]): row for row in rows}
    cells = [[by_key[place, name] for name in NAMES] for place in options.layers(LAYERS)]
    start = sum(dense["nats"])
    nats = [[(sum(cell["nats"]) - start) / len(dense["nats"]) for cell in row] for row in cells]
    return nats, [[cell["bytes"] for cell in row] for row in cells]


def against_dense(rows: list[dict], place: str, option: str) -> difference.Difference:
    """Change in nats that an option makes at a place, over the seeds it was measured with."""
    return difference.of_rows(rows, {"place": place, "option": option}, {"place": "model"})


def without_repair(rows: list[dict], option: Option) -> difference.Difference:
    """Nats more without repair, the mean over the blocks, problem by problem, with one seed."""
    mine = [row for row in rows if row["seed"] == 0 and row["place"] in options.layers(LAYERS)]
    pair = (option, replace(option, repair=True))
    a, b = (np.mean([row["nats"] for row in select(mine, option=str(o))], axis=0).tolist() for o in pair)
    return difference.between(a, b)


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """The most and the least sensitive block at two bits, a layer less, and what repair is worth."""
    found = {place: against_dense(rows, place, str(HARD)) for place in options.layers(LAYERS)}
    gone = {place: against_dense(rows, place, "no layer") for place in options.layers(LAYERS)}
    order = sorted(found, key=lambda place: found[place].mean)
    repair = {str(plain): without_repair(rows, plain) for plain in PLAIN}
    return (
        {"least sensitive": order[0], "most sensitive": order[-1]}
        | difference.headlines("2 bits at", found)
        | difference.headlines("without", gone)
        | difference.headlines("no repair", repair)
    )


def sensitivity(rows: list[dict]) -> dict[str, float]:
    """Mean change in nats at two bits by kind of matrix, over the layers."""
    names = [name for reader in parts.READERS for name in reader]
    places = {name: [f"{layer}.{name}" for layer in options.layers(LAYERS)] for name in names}
    return {
        name: sum(against_dense(rows, place, str(HARD)).mean for place in some) / len(some)
        for name, some in places.items()
    }


TABLE = Table(
    "06_options",
    settings,
    run,
    live=(
        {"place": "blocks.2", "option": "3 bits", "seed": 0},
        {"place": "blocks.0", "option": "4 bits, neurons 50%", "seed": 1},
        {"place": "blocks.5", "option": "no layer", "seed": 2},
        {"place": f"blocks.1.{parts.DOWN}", "option": "2 bits", "seed": 0},
    ),
    size=8,
    tolerance=TOLERANCE,
    headlines=headlines,
)
