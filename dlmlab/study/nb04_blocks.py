"""Notebook 04: the block of columns in which SparseGPT chooses its mask, ours and the published one."""

from functools import cache

import torch

from dlmlab.compress import pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import GRID_TEXTS, SEEDS, answer_bound, dense, texts

PROBLEMS, DRAWS = 128, 6  # for the likelihood of the two blocks, whose difference is small
PUBLISHED_BLOCK = 128  # columns whose mask the released SparseGPT chooses together


@cache
def by_block(block: int | None, seed: int) -> LLaDAModelLM:
    """Prune half of the weights by SparseGPT with this block (None: ours)."""
    calib = texts("uniform", seed, "answer", n=GRID_TEXTS)
    return pruning.prune(dense(), Recipe("sparsegpt", 0.5, block=block), calib=calib)


def run(block: int | None, seed: int, size: int | None = None) -> dict:
    """Measure likelihood, and `moved`: the share of weights that one block removes and the other keeps."""
    pairs = zip(*(parts.weights(by_block(b, seed)).values() for b in (None, block)), strict=True)
    moved = torch.cat([((a == 0) != (b == 0)).flatten() for a, b in pairs])
    nats = answer_bound(by_block(block, seed), problems=PROBLEMS, draws=DRAWS, size=size)
    return {"moved": round(float(moved.double().mean()), 5), "nats": nats}


TABLE = Table(
    "04_blocks",
    lambda: [{"block": block, "seed": seed} for seed in SEEDS for block in (None, PUBLISHED_BLOCK)],
    run,
    live=({"block": PUBLISHED_BLOCK, "seed": 0},),
    size=6,
    tolerance={"nats": (0.5, 0.3)},  # of one problem: another processor gives another mask; `moved` hardly changes
)
