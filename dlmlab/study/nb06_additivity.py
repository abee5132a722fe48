"""Notebook 06: do the losses of the options add up? Random models, the sum of their options' losses, and the truth.

"all" draws from every option of a search, "mild" leaves out two bits and the missing layer.
"""

import torch

from dlmlab.compress.joint import search
from dlmlab.compress.joint.additivity import Additivity, additivity
from dlmlab.measure import store
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.study import nb06_options
from dlmlab.study.finalists import NAMES, TOLERANCE, about, assembly, chosen, validation, weighed

MODELS, SEED = 20, 0
POOLS = {"all": NAMES, "mild": tuple(name for name in NAMES if name not in ("2 bits", "no layer"))}


def settings() -> list[dict]:
    """List twenty random models of each pool."""
    return [{"pool": pool, "number": i} for pool in POOLS for i in range(MODELS)]


def run(pool: str, number: int, size: int | None = None) -> dict:
    """Measure one model: `proxy`, the sum of the losses that its options have alone, and `nats` of its problems."""
    names, layers = POOLS[pool], nb06_options.LAYERS
    generator = torch.Generator().manual_seed(7)
    picked = search.random_choices([len(names)] * layers, MODELS, generator)[number]
    choice = chosen(SEED, [names[i] for i in picked])
    made = assembly(SEED)
    nats = [round(v, 5) for v in validation(SEED).nats(made.model(choice), size)]
    alone, _ = nb06_options.table(store.read("06_options"), SEED)
    proxy = search.proxy([NAMES.index(names[i]) for i in picked], alone)
    weights = about(weighed(SEED, choice), size)
    return {"choice": [names[i] for i in picked], "proxy": round(proxy, 5), "nats": nats} | weights


def sums(rows: list[dict], pool: str) -> tuple[list[float], list[float]]:
    """Give sums and truths of a pool, as changes in nats against the dense model."""
    (dense,) = select(store.read("06_options"), place="model", seed=SEED)
    start, rows = sum(dense["nats"]) / len(dense["nats"]), select(rows, pool=pool)
    return [row["proxy"] for row in rows], [sum(row["nats"]) / len(row["nats"]) - start for row in rows]


def report(rows: list[dict]) -> dict[str, Additivity]:
    """Compare sums and truths of every pool."""
    return {pool: additivity(*sums(rows, pool)) for pool in POOLS}


TABLE = Table(
    "06_additivity",
    settings,
    run,
    live=({"pool": "mild", "number": 10}, {"pool": "mild", "number": 12}),
    size=8,
    tolerance=TOLERANCE | {"proxy": (0.02, 0.02)},
    headlines=lambda rows: {
        f"{pool} {name}": getattr(found, name)
        for pool, found in report(rows).items()
        for name in ("spearman", "r2", "r2_line", "slope")
    },
)
