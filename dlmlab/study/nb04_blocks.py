"""Notebook 04: the block of columns in which SparseGPT chooses its mask, ours and the published one."""

from functools import cache
from pathlib import Path

import torch

from dlmlab.compress import pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure import store
from dlmlab.measure.store import Say, fill
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.nb04_pruning import GRID_TEXTS, SEEDS, answer_bound, dense, texts

BLOCK_PROBLEMS = 128  # for the likelihood of the two blocks, whose difference is small

PUBLISHED_BLOCK = 128  # columns whose mask the released SparseGPT chooses together


@cache
def by_block(block: int | None, seed: int) -> LLaDAModelLM:
    """Prune half of the weights by SparseGPT with this block (None: ours)."""
    calib = texts("uniform", seed, "answer", n=GRID_TEXTS)
    return pruning.prune(dense(), Recipe("sparsegpt", 0.5, block=block), calib=calib)


def blocks(say: Say = print, path: Path = store.RESULTS / "04_blocks.json") -> None:
    """Compare our block of SparseGPT with the published one, three calibration seeds: likelihood, and `moved`, the
    share of weights that one removes and the other keeps, away from ours."""

    def measure(block: int | None, seed: int) -> dict:
        pairs = zip(*(pruning.prunable(by_block(b, seed)) for b in (None, block)), strict=True)
        moved = torch.cat([((a == 0) != (b == 0)).flatten() for (_, a), (_, b) in pairs])
        nats = answer_bound(by_block(block, seed), problems=BLOCK_PROBLEMS)
        return {"moved": round(float(moved.double().mean()), 5), "nats": nats}

    keys = [{"block": block, "seed": seed} for seed in SEEDS for block in (None, PUBLISHED_BLOCK)]
    fill(path, ((key, lambda k=key: measure(**k)) for key in keys), say)
