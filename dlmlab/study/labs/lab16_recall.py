"""Lab 16: looking up pairs: n pairs of key and value in one set, one key asked, from both sides.

Two layers may ask first and look then: the question stands in the set, and every pair reads it in the first layer. In
*one* layer no pair can: its key and its value are made of the pair alone, and the question reads what is there. So one
linear layer has to hold the pairs in its states, and one softmax layer is the control for depth.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.difference import headlines as named
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.study.labs import lab16_toys as toys

KEYS, VALUES, STEPS, ROWS, TESTS = 64, 64, 600, 64, 500
LAYERS = {
    "softmax": ("softmax", "softmax"),
    "linear": ("linear", "linear"),
    "raw": ("raw", "raw"),
    "hybrid": ("linear", "softmax"),
    "one softmax": ("softmax",),
    "one linear": ("linear",),
}
PAIRS, SEEDS = (8, 16, 32), (0, 1, 2)
LARGEST_ONLY = ("raw", "one softmax", "one linear")


def draw(pairs: int, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor, slice, Tensor]:
    """Draw sets of pairs and one question each: keys and contents (B, n + 1), the place asked, its value (B, 1)."""
    keys = torch.rand(rows, KEYS, generator=generator).argsort(1)[:, :pairs]
    values = torch.randint(VALUES, (rows, pairs), generator=generator)
    at = torch.randint(pairs, (rows, 1), generator=generator)
    asked = torch.full((rows, 1), VALUES)  # the content of a question
    return (
        torch.cat([keys, keys.gather(1, at)], 1),
        torch.cat([values, asked], 1),
        slice(-1, None),
        values.gather(1, at),
    )


def learned(layers: str, pairs: int, seed: int, stop: int | None = None) -> tuple[toys.Finder, list[float]]:
    """Train a network from a seed, or the first steps of it; gives the losses of its steps too."""
    torch.manual_seed(seed)
    model = toys.Finder(LAYERS[layers], KEYS, VALUES + 1, VALUES)
    return model, toys.train(model, lambda generator: draw(pairs, ROWS, generator), STEPS, seed, stop=stop)


def held_out(pairs: int) -> tuple:
    """Draw the sets that every network is judged on."""
    return draw(pairs, TESTS, torch.Generator().manual_seed(1_000 + pairs))


def run(layers: str, pairs: int, seed: int, size: int | None = None) -> dict:
    """Train and judge; given a `size`, only the losses of the first so many steps are repeated."""
    model, losses = learned(layers, pairs, seed, size)
    found: dict = {"first": [round(value, 4) for value in losses[:20]]}
    if size is None:
        right, nats = toys.judge(model, held_out(pairs))
        found |= {"right": right, "loss": round(sum(nats) / len(nats), 4)}
    return found


def settings() -> list[dict]:
    """List layers, numbers of pairs and seeds; some only with the most pairs, where two linear layers fall."""
    asked = [(n, name) for n in PAIRS for name in LAYERS if name not in LARGEST_ONLY or n == max(PAIRS)]
    return [{"layers": name, "pairs": n, "seed": seed} for seed in SEEDS for n, name in asked]


def share(rows: Sequence[dict], **key) -> list[float]:
    """Share of sets answered, seed by seed."""
    return [row["right"].count("1") / len(row["right"]) for row in select(rows, **key)]


def more(rows: Sequence[dict], pairs: int, layers: str, other: str) -> Difference:
    """Compare two networks in points of right answers, over sets and seeds."""
    mine = select(rows, pairs=pairs)
    return of_rows(mine, {"layers": layers}, {"layers": other}, column="right").times(100)


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for n in PAIRS:
        here = [row["layers"] for row in select(rows, pairs=n, seed=0)]
        for name in here:
            each = share(rows, layers=name, pairs=n)
            found[f"{name}, {n}"] = sum(each) / len(each)
            found[f"{name}, {n}, least"], found[f"{name}, {n}, most"] = min(each), max(each)
        against = {f"{name}, {n}": more(rows, n, name, "softmax") for name in here if name != "softmax"}
        found |= named("less softmax,", against)
        others = {f"{name}, {n}": more(rows, n, name, "linear") for name in here if name not in ("linear", "softmax")}
        found |= named("less linear,", others)
        for name in here:
            nats = [row["loss"] for row in select(rows, pairs=n, layers=name)]
            found[f"nats, {name}, {n}, least"], found[f"nats, {name}, {n}, most"] = min(nats), max(nats)
    return found


TABLE = Table(
    "16_recall",
    settings,
    run,
    live=({"layers": "hybrid", "pairs": 32, "seed": 0}, {"layers": "softmax", "pairs": 8, "seed": 1}),
    size=20,
    tolerance={"first": (0.02, 0.01)},
    headlines=headlines,
)
