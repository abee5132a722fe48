"""Lab 16: train dense, read dilated, where something far away is asked for.

Rows of 64 tokens: four facts ("the value of key a is 3", one token each) at random places among the first twenty,
filler after them, and the last four tokens ask for the four values, 40 tokens or more after the last fact. All four
have to be right. The network is causal, as RAT+ is; two by two: with and without the recurrence, trained dense only or
jointly (each batch once dense and once reading one key in 64), and never trained on the other masks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dlmlab.attention import dilated
from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.difference import headlines as named
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.study.labs import lab16_toys as toys

L, FACTS, FRONT, KEYS, VALUES, FILLERS = 64, 4, 20, 16, 16, 16
NONE, ASKED = KEYS, VALUES  # the key of filler; the content of a question (fillers come after it)
STEPS, ROWS, TESTS = 400, 32, 500
KINDS, TRAINING, SEEDS = ("attention", "recurrence"), ("dense", "joint"), (0, 1, 2)
OURS = {"kind": "recurrence", "training": "joint"}
OTHERS = [(k, t) for k in KINDS for t in TRAINING if (k, t) != ("recurrence", "joint")]
MASKS = {  # (every, window)
    "dense": (1, 0),
    "every 4th": (4, 0),
    "every 8th": (8, 0),
    "every 16th": (16, 0),
    "own key only": (64, 0),
    "window of 9": (64, 8),
}


def draw(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor, slice, Tensor]:
    """Draw rows: keys and contents (B, L), the places asked, the values there (B, FACTS)."""
    keys = torch.full((rows, L), NONE)
    contents = torch.randint(ASKED + 1, ASKED + 1 + FILLERS, (rows, L), generator=generator)
    at = torch.rand(rows, FRONT, generator=generator).argsort(1)[:, :FACTS]
    names = torch.rand(rows, KEYS, generator=generator).argsort(1)[:, :FACTS]
    values = torch.randint(VALUES, (rows, FACTS), generator=generator)
    keys.scatter_(1, at, names)
    contents.scatter_(1, at, values)
    order = torch.rand(rows, FACTS, generator=generator).argsort(1)
    keys[:, -FACTS:], contents[:, -FACTS:] = names.gather(1, order), ASKED
    return keys, contents, slice(-FACTS, None), values.gather(1, order)


def allowed(name: str) -> Tensor:
    """Make the mask of a name of `MASKS`, (L, L) bool."""
    return dilated.reads(L, *MASKS[name])


def learned(kind: str, training: str, seed: int, stop: int | None = None) -> tuple[toys.Finder, list[float]]:
    """Train a network from a seed, or the first steps of it; gives the losses of its steps too."""
    torch.manual_seed(seed)
    model = toys.Finder((kind, kind), KEYS + 1, ASKED + 1 + FILLERS, VALUES)
    masks = (allowed("dense"), allowed("own key only")) if training == "joint" else (allowed("dense"),)
    return model, toys.train(model, lambda generator: draw(ROWS, generator), STEPS, seed, masks, stop)


def held_out() -> tuple:
    """Draw the rows that every network is judged on."""
    return draw(TESTS, torch.Generator().manual_seed(1_064))


def run(kind: str, training: str, seed: int, size: int | None = None) -> dict:
    """Train, and judge under every mask; given a `size`, only the losses of the first so many steps are repeated."""
    model, losses = learned(kind, training, seed, size)
    found: dict = {"first": [round(value, 4) for value in losses[:12]]}
    if size is None:
        judged = {name: toys.judge(model, held_out(), allowed(name)) for name in MASKS}
        found |= {f"right, {name}": right for name, (right, _) in judged.items()}
        found |= {f"loss, {name}": nats for name, (_, nats) in judged.items()}
    return found


def settings() -> list[dict]:
    """List the two by two, seed by seed."""
    return [{"kind": k, "training": t, "seed": seed} for seed in SEEDS for k in KINDS for t in TRAINING]


def share(rows: Sequence[dict], mask: str, **key) -> list[float]:
    """Share of rows with all values right under a mask, seed by seed."""
    return [row[f"right, {mask}"].count("1") / TESTS for row in select(rows, **key)]


def nats(rows: Sequence[dict], mask: str, **key) -> float:
    """Mean loss of an answer under a mask, over rows and seeds."""
    values = [value for row in select(rows, **key) for value in row[f"loss, {mask}"]]
    return sum(values) / len(values)


def more(
    rows: Sequence[dict], mask: str, ours: dict, theirs: dict, other: str | None = None, *, of: str = "right"
) -> Difference:
    """Compare two networks under a mask (the second under `other`), over rows and seeds: of "right" in points, of
    "loss" in nats an answer."""
    mine = [row | {"now": row[f"{of}, {mask}"]} for row in select(rows, **ours)]
    against = [row | {"now": row[f"{of}, {other or mask}"], "kind": "other"} for row in select(rows, **theirs)]
    found = of_rows([*mine, *against], {"kind": ours["kind"]}, {"kind": "other"}, column="now")
    return found.times(100) if of == "right" else found


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for kind in KINDS:
        for training in TRAINING:
            key = {"kind": kind, "training": training}
            for mask in MASKS:
                each = share(rows, mask, **key)
                found[f"{kind}, {training}, {mask}"] = sum(each) / len(each)
                by_seed = [nats(rows, mask, **key, seed=seed) for seed in SEEDS]
                name = f"nats, {kind}, {training}, {mask}"
                found |= {name: nats(rows, mask, **key), f"{name}, least": min(by_seed), f"{name}, most": max(by_seed)}
    plain = {"kind": "attention", "training": "dense"}
    for of, unit in (("right", "points"), ("loss", "nats")):
        for mask in MASKS:
            against = {f"{k}, {t}": more(rows, mask, OURS, {"kind": k, "training": t}, of=of) for k, t in OTHERS}
            found |= named(f"{unit}, {mask}, less", against)
        alone = {mask: more(rows, mask, OURS, OURS, "own key only", of=of) for mask in MASKS}
        window = {mask: more(rows, mask, OURS, plain, "window of 9", of=of) for mask in MASKS}
        found |= named(f"{unit}, less own key only,", alone) | named(f"{unit}, less plain window,", window)
    return found


TABLE = Table(
    "16_dilated",
    settings,
    run,
    live=(
        {"kind": "recurrence", "training": "joint", "seed": 0},
        {"kind": "attention", "training": "dense", "seed": 1},
    ),
    size=12,
    tolerance={"first": (0.02, 0.01)},
    headlines=headlines,
)
