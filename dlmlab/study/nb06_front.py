"""Notebook 06: the last rows of the front: the dense model with fewer steps, finalists with fewer steps, and the twin.

`everything` gathers the rows of all tables of the notebook, so that every method stands in one picture.
"""

from dlmlab.compress.joint import front
from dlmlab.compress.joint.latency import Latency
from dlmlab.compress.joint.options import Option
from dlmlab.compress.joint.steps import FEWER, USUAL, Decoding
from dlmlab.measure import difference, store
from dlmlab.measure.table import Table
from dlmlab.study import nb06_search
from dlmlab.study.finalists import (
    BUDGETS,
    IDEAL,
    NAMES,
    REFERENCE,
    SEEDS,
    TOLERANCE,
    assembly,
    chosen,
    point,
    recipe,
    tested,
    weighed,
)

LLADA, TWIN = "llada-mini", "llama-mini"
DENSE, STEPS = "dense, fewer steps", "knapsack, fewer steps"
FASTER = (Decoding(0.7), Decoding(0.5))
TWINS = ("4 bits", "3 bits", "3 bits, zeros 50%", "2 bits")
LEFT_TO_RIGHT = "left to right"


def settings() -> list[dict]:
    """List the dense model by decoding, the twin by option, and finalists by decoding; seed by seed."""
    columns = ("model", "method", "budget", "decoding", "seed")
    rows = [(LLADA, DENSE, 0, str(decoding), 0) for decoding in FEWER]
    rows += [(TWIN, "dense", 0, LEFT_TO_RIGHT, 0)]
    rows += [(TWIN, name, 0, LEFT_TO_RIGHT, seed) for seed in SEEDS for name in TWINS]
    rows += [(LLADA, STEPS, budget, str(d), seed) for seed in SEEDS for budget in BUDGETS for d in FASTER]
    return [dict(zip(columns, row, strict=True)) for row in rows]


def run(model: str, method: str, budget: int, decoding: str, seed: int, size: int | None = None) -> dict:
    """Test one row. The likelihood of LLaDA-mini does not depend on the decoding and is left out."""
    made = assembly(seed, model)
    if method == STEPS:
        choice = chosen(seed, nb06_search.pick("knapsack", budget, seed))
    elif method in NAMES:
        choice = chosen(seed, [method] * len(made.places), model)
    else:
        choice = dict.fromkeys(made.places, Option())
    how = {str(d): d for d in (*FEWER, *FASTER)}.get(decoding, USUAL)
    found = weighed(seed, choice, model) | tested(made.model(choice), how, size=size, nats=model == TWIN)
    return found | ({"recipe": recipe(seed, choice, how)} if model == LLADA and size is None else {})


def everything() -> list[dict]:
    """Gather all tested rows of the notebook: `model`, `method`, `family`, `seed`, `bytes`, `nfe`, `correct`, `shapes`,
    `decoding` (its name), and `recipe` where one exists."""
    common = {"model": LLADA, "decoding": str(USUAL)}
    found = []
    for table in ("06_search", "06_orders", "06_spq", "06_front"):
        for row in store.read(table):
            family = {"06_search": "search", "06_orders": "order", "06_spq": "SPQ"}.get(table, row["method"])
            found.append(common | row | {"family": family, "table": table})
    return found


def objectives(row: dict, times: Latency) -> tuple[float, float, float]:
    """Give a row as a point: share of wrong answers, bytes, milliseconds a problem by the table of a machine."""
    return (*point(row), times.problem([tuple(shape) for shape in row["shapes"]], row["nfe"]))


def front_of(rows: list[dict], times: Latency) -> list[dict]:
    """Keep the rows that no other dominates in wrong answers, bytes and milliseconds."""
    return [rows[i] for i in front.front([objectives(row, times) for row in rows])]


def volume(rows: list[dict], times: Latency, slowest: float) -> float:
    """Hypervolume in three objectives, as a share of the box that ends at `REFERENCE` and `slowest` milliseconds.

    The dense model is larger than the reference, which is about small models: rows that only save steps add nothing
    unless their bytes are counted up to the dense ones; so the box in bytes ends above the dense model here.
    """
    dense = max(row["bytes"] for row in rows)
    worst = (REFERENCE[0], max(1.02 * dense, REFERENCE[1]), slowest)
    return front.normalized([objectives(row, times) for row in rows], worst, (*IDEAL, 0.0))


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Fewer steps against the usual decoding, dense and compressed, and the twin against its dense self, in points."""
    mine = [row for row in rows if row["model"] == LLADA]
    found: dict[str, float | str] = {}
    steps = {
        str(d): difference.of_rows(mine, {"method": DENSE, "decoding": str(d)},
                                   {"method": DENSE, "decoding": str(USUAL)}, column="correct").times(100)
        for d in FEWER if d != USUAL
    }  # fmt: skip
    found |= difference.headlines("dense, points,", steps)
    found |= {f"dense, forwards, {r['decoding']}": r["nfe"] for r in mine if r["method"] == DENSE}
    (whole,) = store.select(rows, model=TWIN, method="dense")
    twins = [row for row in rows if row["model"] == TWIN] + [whole | {"seed": seed} for seed in SEEDS[1:]]
    for column, unit, factor in (("correct", "points", 100), ("nats", "nats", 1)):
        against = {
            name: difference.of_rows(twins, {"method": name}, {"method": "dense"}, column=column).times(factor)
            for name in TWINS
        }
        found |= difference.headlines(f"twin, {unit},", against)
    return found


TABLE = Table(
    "06_front",
    settings,
    run,
    live=(
        {"model": LLADA, "method": DENSE, "budget": 0, "decoding": "threshold 0.5", "seed": 0},
        {"model": TWIN, "method": "2 bits", "budget": 0, "decoding": LEFT_TO_RIGHT, "seed": 0},
    ),
    size=8,
    tolerance=TOLERANCE,
    headlines=headlines,
)
