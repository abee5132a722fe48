"""Notebook 05: activations in few bits: who shares a scale, what a rotation does, and where it breaks.

`weights` 32 is floating point, 4 is RTN in groups; `bits` are those of the inputs of the block matrices, rounded where
they enter on dynamic asymmetric grids. `grain`: one grid a text (`tensor`), a token (`token`), or one each for prompt,
visible answer and masks (`class`); `BUT` leaves the input of the last matrix of a block alone. `rotated`: all
that QuaRot rotates, with the rotation before that matrix computed in every forward; its signs are drawn by the seed.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch

from dlmlab.compress import registry
from dlmlab.compress.quant import activation, rotation
from dlmlab.measure import difference
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.network.codes import QSpec
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import SEEDS, dense
from dlmlab.study.nb05_methods import TOLERANCE, bound, spec

BUT = f" but {parts.DOWN}"
ARMS = (  # weights, bits, grain, rotated
    (32, 32, "token", False),
    (4, 4, "token", False),
    (4, 4, "token", True),
    (4, 4, "tensor", False),
    (4, 4, "class", False),
    (4, 8, "token", False),
    (32, 4, "token", False),
    (32, 4, "token" + BUT, False),
    (4, 4, "tensor", True),
)
COLUMNS = ("weights", "bits", "grain", "rotated")


def model_of(weights: int, rotated: bool, seed: int) -> LLaDAModelLM:
    """Make the model whose inputs are to be rounded."""
    model = rotation.rotate(dense(), torch.Generator().manual_seed(seed)) if rotated else dense()
    return model if weights == 32 else registry.compress(model, "rtn", spec(weights))


def rounded(model: LLaDAModelLM, bits: int, grain: str) -> AbstractContextManager[LLaDAModelLM]:
    """Round the inputs of a model's matrices while the context is open; 32 bits change nothing."""
    kind = grain.removesuffix(BUT)
    grid = QSpec(min(bits, 16), granularity="token" if kind == "token" else "tensor")

    def choose(name: str) -> QSpec | None:
        return None if bits == 32 or (grain.endswith(BUT) and name.endswith(parts.DOWN)) else grid

    return activation.quantized_inputs(model, choose, by_class=kind == "class")


def settings() -> list[dict]:
    """List every arm under the masks of every seed."""
    return [dict(zip(COLUMNS, arm, strict=True)) | {"seed": seed} for arm in ARMS for seed in SEEDS]


def run(weights: int, bits: int, grain: str, rotated: bool, seed: int, size: int | None = None) -> dict:
    """Measure the likelihood with inputs in few bits."""
    with rounded(model_of(weights, rotated, seed), bits, grain) as model:
        return {"nats": bound(model, seed, size)}


# ------------------------------------------------------------------------------------------------ what pages quote


def gap(rows: Sequence[dict], a: tuple, b: tuple) -> difference.Difference:
    """Nats of one arm minus those of another."""
    return difference.of_rows(rows, *(dict(zip(COLUMNS, arm, strict=True)) for arm in (a, b)))


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote, in nats: what rounding costs, what a grid of one's own and a rotation save."""
    found: dict[str, float | str] = {}
    whole = (32, 32, "token", False)
    for arm in ARMS:
        weights, bits, grain, rotated = arm
        name = f"W{weights}A{bits} {grain}" + " rotated" * rotated
        if arm != whole:
            found |= difference.headlines("nats lost,", {name: gap(rows, arm, whole)})
        if rotated and (weights, bits, grain, False) in ARMS:
            saved = gap(rows, arm, (weights, bits, grain, False))
            found |= difference.headlines("rotated - not,", {name.removesuffix(" rotated"): saved})
        if grain == "class":
            for other in ("tensor", "token"):
                pair = gap(rows, arm, (weights, bits, other, rotated))
                found |= difference.headlines(f"class - {other},", {f"W{weights}A{bits}" + " rotated" * rotated: pair})
    pair = gap(rows, (4, 4, "tensor", True), (4, 4, "class", False))
    found |= difference.headlines("rotated tensor - class,", {"W4A4": pair})
    alone = gap(rows, (32, 4, "token" + BUT, False), (32, 4, "token", False))
    found |= difference.headlines(f"{parts.DOWN} left alone - not,", {"W32A4 token": alone})
    return found


TABLE = Table(
    "05_activations",
    settings,
    run,
    live=(
        {"weights": 4, "bits": 4, "grain": "token", "rotated": True, "seed": 0},
        {"weights": 4, "bits": 4, "grain": "class", "rotated": False, "seed": 1},
    ),
    size=10,
    tolerance=TOLERANCE | {"nats": (0.05, 0.1)},  # a rounded activation may fall to the other side
    headlines=headlines,
)
