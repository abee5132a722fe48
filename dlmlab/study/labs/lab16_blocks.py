"""Lab 16: what the forms cost where they are used: a whole block of LLaDA-mini, and the causal forms beside each other.

`group` "block": one block (norms, projections, positions, mixing, feed-forward) with random weights; only the mixing
is another one. "nothing" hands the values on and mixes no tokens: no form can be cheaper, so its ratio is what a block
has to win. "causal": the mixing alone, from left to right with a decay, as a matrix, token by token, and in chunks.
"both sides": the same from both sides, by scans.

Each form is timed in turn with the fused softmax of its group, in the same round. `ratio`: time of softmax over that of
the form, median, quartiles, least and most of the rounds: above 1 the form is faster. Batch 1, one thread, float32,
without a compiler. The time is the processor's, spent by this thread, and not the clock's: the machine was shared, and
a clock counts what others do. Ratios belong to the machine that is stored beside them.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.attention import linear
from dlmlab.measure import hardware
from dlmlab.measure.table import Table
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import Block, rope_table
from dlmlab.study.labs import lab16_crossover

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]

HEADS, WIDTH = lab16_crossover.HEADS, lab16_crossover.WIDTH
DECAY, ROUNDS, ENOUGH = 0.9, 15, 2e-3  # ENOUGH: seconds that one timing of the softmax takes, about
SIZES = (8, 64, 256)
SOFTMAX = F.scaled_dot_product_attention
FORMS: dict[str, dict[str, Mix]] = {
    "block": {
        "softmax": SOFTMAX,
        "linear": linear.normalised,
        "bare product": linear.both_sides,
        "nothing": lambda q, k, v: v,
    },
    "causal": {
        "softmax": partial(SOFTMAX, is_causal=True),
        "matrix": partial(linear.matrix, decay=DECAY),
        "recurrence": partial(linear.recurrent, decay=DECAY),
        **{f"chunks of {size}": partial(linear.chunked, decay=DECAY, size=size) for size in SIZES},
    },
    "both sides": {
        "softmax": SOFTMAX,
        "matrix": partial(linear.matrix, decay=DECAY, causal=False),
        "chunks of 64": partial(linear.both_sides, decay=DECAY, size=64),
    },
}
LENGTHS = {"block": (64, 96, 256, 1024), "causal": (96, 512, 2048), "both sides": (96, 512, 2048)}


def block_with(length: int) -> Callable[[Mix], Tensor]:
    """Make a block of LLaDA-mini with random weights and one text; gives a function of the mixing."""
    torch.manual_seed(0)
    block, h = Block(LLaDAConfig()), torch.randn(1, length, HEADS * WIDTH)
    rope = rope_table(torch.arange(length), WIDTH, 10_000.0)

    def forward(mix: Mix) -> Tensor:
        after = h + block.output(mix(*block.project(h, rope)).transpose(1, 2).flatten(2))
        return after + block.feed(after)

    return forward


def mixing(length: int) -> Callable[[Mix], Tensor]:
    """Draw queries, keys and values; gives a function of the mixing."""
    g = torch.Generator().manual_seed(0)
    x = [torch.randn(1, HEADS, length, WIDTH, generator=g) for _ in range(3)]
    return lambda mix: mix(*x)


def counted(group: str, length: int) -> dict[str, float]:
    """Count what can be counted: multiply-adds as a share of a whole block's, or of causal softmax's products."""
    if group == "block":
        return {"nothing": round(1 - lab16_crossover.of_block(length), 6)}
    if group == "both sides":
        return {"matrix": 1.0}
    pairs = linear.multiply_adds("causal", length, WIDTH)
    chunks = {f"chunks of {n}": round(linear.multiply_adds("chunks", length, WIDTH, n) / pairs, 6) for n in SIZES}
    return {
        "matrix": 1.0,
        "recurrence": round(linear.multiply_adds("chunks", length, WIDTH, 1) / pairs, 6),
    } | chunks


def run(group: str, length: int, size: int | None = None) -> dict:
    """Count and time one length; given a `size`, only count: a time is nothing that a page may promise."""
    found: dict = {"counts": counted(group, length)}
    if size is not None:
        return found
    work = (block_with if group == "block" else mixing)(length)
    forms = {name: partial(work, mix) for name, mix in FORMS[group].items()}
    ratios = lab16_crossover.over_softmax(forms, rounds=ROUNDS, enough=ENOUGH, clock=time.thread_time)
    return found | {"ratio": ratios, "machine": hardware.fingerprint()}


def settings() -> list[dict]:
    """List the groups and their lengths."""
    return [{"group": group, "length": L} for group, lengths in LENGTHS.items() for L in lengths]


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for row in rows:
        for form, values in row["ratio"].items():
            name = f"{row['group']}, {form}, {row['length']}"
            found |= {name + part: value for part, value in zip(PARTS, values, strict=True)}
    return found


PARTS = ("", ", low", ", high", ", least", ", most")
TABLE = Table(
    "16_blocks",
    settings,
    run,
    live=({"group": "block", "length": 96}, {"group": "causal", "length": 512}),
    size=0,
    headlines=headlines,
)
