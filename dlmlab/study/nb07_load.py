"""Notebook 07: which experts masks and visible tokens are sent to, by the share of masks.

`load`: share of the tokens' places that each expert of each routed layer has, for masks and for visible tokens of the
answer apart. `apart`: total variation distance between the two, by layer: 0 the same experts, 1 none in common. Its
floor: two halves of the texts, masks against masks. At one level all rows are whole texts of the test split, masked in
the answer.

`met`: how many experts the tokens of one block have together, by layer, a mean over the blocks that are written from
end to end; that many must be read to write it. `own`: the same for as many tokens of the same answer, `shuffled`: of
any answer, so that loads are the same and only the company is not.
"""

from collections.abc import Sequence

import torch

from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.network.checkpoint import load
from dlmlab.network.config import attention_block
from dlmlab.network.moe import Experts
from dlmlab.study.judging import SEEDS
from dlmlab.study.nb07_pair import EXPERTS
from dlmlab.task import layout, tasks

LEVELS, PROBLEMS = (0.1, 0.3, 0.5, 0.7, 0.9), 256
MEANS = ("apart", "floor", "met", "own", "shuffled")


def chosen(model, x: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
    """Mark the experts that every token of x is sent to, (layers, B, L, E) bool, of the routed layers; the blocks
    before its own are read clean, x0, as when a text is written."""
    with torch.inference_mode():
        model(x, clean=x0)
    found = []
    for block in parts.blocks(model):
        if isinstance(block.mlp, Experts):
            read = sum(map(len, block.mlp.tokens)) // model.config.num_experts_per_tok  # the last block: no clean half
            sent = torch.zeros(read, len(block.mlp.experts), dtype=torch.bool)
            for expert, at in enumerate(block.mlp.tokens):
                sent[at, expert] = True
            found.append(sent.view(len(x), -1, sent.shape[1])[:, : x.shape[1]])
    return torch.stack(found)


def shares(sent: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Share of the places of some tokens that each expert has, (layers, E)."""
    counts = sent[:, where].double().sum(1)
    return counts / counts.sum(-1, keepdim=True)


def distance(a: torch.Tensor, b: torch.Tensor) -> list[float]:
    """Total variation distance by layer, (layers, E) twice -> layers."""
    return [round(v, 5) for v in (0.5 * (a - b).abs().sum(-1)).tolist()]


def company(sent: torch.Tensor, where: torch.Tensor, generator: torch.Generator) -> dict[str, list[float]]:
    """Count the experts that the tokens of a block have together, and as many of its text or of any, over layers.

    `sent` (layers, B, L, E) bool; `where` (B, L) bool: only blocks that lie in it as a whole count.
    """
    block = attention_block(load(EXPERTS).model.config.attention)
    long = sent.shape[2] // block * block
    text, at = where[:, :long].unflatten(1, (-1, block)).all(-1).nonzero().T  # of each whole block
    places = at[:, None] * block + torch.arange(block)  # (whole blocks, block)
    own = where[text].double().multinomial(block, generator=generator)
    anywhere = where.flatten().double().multinomial(len(text) * block, replacement=True, generator=generator)
    drawn = {
        "met": (text[:, None], places),
        "own": (text[:, None], own),
        "shuffled": (anywhere // where.shape[1], anywhere % where.shape[1]),
    }
    found = {}
    for name, (b, place) in drawn.items():
        together = sent[:, b, place].unflatten(1, (-1, block)) if name == "shuffled" else sent[:, b, place]
        count = together.any(2).sum(-1).double().mean(1)  # (layers,)
        found[name] = [round(v, 5) for v in count.tolist()]
    return found


def run(level: float, seed: int, size: int | None = None) -> dict:
    """Mask each token of the answer with probability `level` and see where tokens go."""
    model, tokenizer = load(EXPERTS)
    rows = layout.encode_rows(tokenizer, tasks.load_split("test")[:PROBLEMS], side="right")
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(rows.x0.shape, generator=generator)
    written = rows.answer & (rows.x0 != tokenizer.eos_token_id)
    hidden = written & (draw < level)
    x = torch.where(hidden, tokenizer.mask_token_id, rows.x0)
    sent, half = chosen(model, x, rows.x0), (torch.arange(len(x)) % 2 == 0)[:, None]
    masks, visible = shares(sent, hidden), shares(sent, written & ~hidden)
    return {
        "masks": [[round(v, 5) for v in row] for row in masks.tolist()],
        "visible": [[round(v, 5) for v in row] for row in visible.tolist()],
        "apart": distance(masks, visible),
        "floor": distance(shares(sent, hidden & half), shares(sent, hidden & ~half)),
    } | company(sent, written, generator)


def mean(rows: Sequence[dict], level: float, column: str) -> float:
    """Mean of a column over layers and seeds at one level."""
    values = [v for row in select(rows, level=level) for v in row[column]]
    return sum(values) / len(values)


def headlines(rows: Sequence[dict]) -> dict[str, float]:
    """Name what pages quote."""
    return {f"{column} at {level}": mean(rows, level, column) for level in LEVELS for column in MEANS}


TABLE = Table(
    "07_load",
    lambda: [{"level": level, "seed": seed} for level in LEVELS for seed in SEEDS],
    run,
    live=({"level": 0.5, "seed": 0},),
    size=1,
    tolerance={name: (0.02, 0.0) for name in ("masks", "visible", "apart", "floor")}
    | dict.fromkeys(("met", "own", "shuffled"), (0.15, 0.0)),
    headlines=headlines,
)
