"""Lab 16: where attention without a softmax becomes cheaper: counts that are exact, and ratios of times taken in turn.

Six heads of width 32, as LLaDA-mini has, batch 1, one thread, float32, all from both sides. `ratio`: time of the fused
softmax over that of a form in the same round, with its quartiles and the least and the most of all rounds: above 1 the
form is faster. Ratios belong to the machine that is stored beside them; counts belong to nobody.
"""

import statistics
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.attention import linear
from dlmlab.measure import hardware
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network import cost

HEADS, WIDTH, ROUNDS, ENOUGH = 6, 32, 31, 4e-3  # ENOUGH: seconds that one timing of the softmax takes, about
LENGTHS = (32, 64, 96, 128, 192, 256, 512, 1024, 2048)
FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "softmax": F.scaled_dot_product_attention,
    "softmax, as a matrix": lambda q, k, v: (q @ k.transpose(-1, -2) * WIDTH**-0.5).softmax(-1) @ v,
    "linear": linear.normalised,
    "linear, bare product": linear.both_sides,
}
MODEL, FEED = 192, 512  # of LLaDA-mini, for the share of a block


def of_block(L: int) -> float:
    """Share of a block's multiply-adds that the two products of softmax attention have, in LLaDA-mini."""
    own = HEADS * linear.multiply_adds("softmax", L, WIDTH)
    return own / (own + L * (4 * MODEL * MODEL + 3 * MODEL * FEED))


def over_softmax(
    forms: dict[str, Callable[[], object]],
    *,
    rounds: int,
    enough: float,
    clock: Callable[[], float] | None = None,
) -> dict[str, list[float]]:
    """Time "softmax" over that of every other form, all in turn: median, quartiles, least and most of the rounds.

    Each form runs so often in a round that softmax takes about `enough` seconds (`cost.interleaved` says by
    which `clock`).
    """
    with torch.inference_mode():
        once = min(cost.interleaved({"s": forms["softmax"]}, rounds=9, clock=clock)["s"])
        times = max(1, round(enough / once))

        def repeated(form: Callable[[], object]) -> None:
            for _ in range(times):
                form()

        functions = {name: lambda form=form: repeated(form) for name, form in forms.items()}
        seconds = cost.interleaved(functions, rounds=rounds, warmup=3, clock=clock)
    ratios = {}
    for name in forms.keys() - {"softmax"}:
        each = sorted(a / b for a, b in zip(seconds["softmax"], seconds[name], strict=True))
        low, middle, high = statistics.quantiles(each, n=4)
        ratios[name] = [round(value, 4) for value in (middle, low, high, each[0], each[-1])]
    return {name: ratios[name] for name in forms if name in ratios}


def run(length: int, size: int | None = None) -> dict:
    """Count and time one length; given a `size`, only count: a time is nothing that a page may promise."""
    counts = {form: HEADS * linear.multiply_adds(form, length, WIDTH) for form in ("softmax", "linear")}
    found: dict = {"counts": counts, "of block": round(of_block(length), 6)}
    if size is not None:
        return found
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, HEADS, length, WIDTH, generator=g) for _ in range(3))
    forms = {name: lambda form=form: form(q, k, v) for name, form in FORMS.items()}
    ratios = over_softmax(forms, rounds=ROUNDS, enough=ENOUGH)
    return found | {"ratio": ratios, "machine": hardware.fingerprint()}


def settings() -> list[dict]:
    """List the lengths."""
    return [{"length": L} for L in LENGTHS]


def between(rows: Sequence[dict], form: str, place: int = 0) -> tuple[int, int]:
    """Say between which two lengths the ratio of a form passes 1: the last length at which the median (`place` 0; 1 and
    2 the quartiles) lies below it, 0 if none, and the next one. Raises `ValueError` when the form is never faster."""
    slower = [row["length"] for row in rows if row["ratio"][form][place] < 1]
    last = max(slower, default=0)
    if last == LENGTHS[-1]:
        raise ValueError(f"{form} is not faster than softmax at any length up to {last}")
    return last, min(L for L in LENGTHS if L > last)


def crossing(rows: Sequence[dict], form: str, place: int = 0) -> float:
    """Estimate the length at which the ratio of a form is 1: along a straight line between the two lengths, in the
    logarithms of both. The smallest length where the form is faster everywhere."""
    low, high = between(rows, form, place)
    if not low:
        return float(high)
    below, above = (select(rows, length=L)[0]["ratio"][form][place] for L in (low, high))
    share = torch.tensor(1 / below).log() / torch.tensor(above / below).log()
    return float(low * (high / low) ** share)


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for row in rows:
        found[f"of block, {row['length']}"] = row["of block"]
        for form, (middle, low, high, least, most) in row["ratio"].items():
            parts = {"": middle, ", low": low, ", high": high, ", least": least, ", most": most}
            found |= {f"{form}, {row['length']}{name}": value for name, value in parts.items()}
    for form in ("linear", "linear, bare product"):
        found[f"crossing, {form}"] = crossing(rows, form)
        found[f"crossing, {form}, low"], found[f"crossing, {form}, high"] = (crossing(rows, form, i) for i in (2, 1))
    return found


TABLE = Table("16_crossover", settings, run, live=({"length": 64}, {"length": 1024}), size=0, headlines=headlines)
