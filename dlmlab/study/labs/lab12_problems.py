"""Lab 12: mini-GSM problems of one equation with small numbers, and batches of them."""

import itertools
from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

from dlmlab.network.checkpoint import load
from dlmlab.task import layout, tasks

WINDOW, MOST = 9, 20  # tokens of a solution with its end mark; the largest number
POOL, POOLS = 8, 32  # batches that are sorted together; how many such pools there are
ASKED = 500  # problems to test with


def encode(problems: Sequence[tasks.Problem]) -> tuple[Tensor, Tensor]:
    """Lay out problems with their solutions on the right: ids (B, L) and which of them are real, (B, L) bool."""
    rows = layout.encode_rows(load("llada-mini").tokenizer, problems, side="left", answer_length=WINDOW)
    return rows.x0, rows.valid


def small(first: int, splits: Sequence[str] = ("train",)) -> Iterator[tasks.Problem]:
    """Yield the problems of one equation without a distractor whose numbers are at most MOST, from a seed on."""
    for seed, split in ((s, split) for s in itertools.count(first) for split in splits):
        problem = tasks.make_problem(seed, split=split, steps=1, distractor=0.0)
        if all(int(word) <= MOST for word in f"{problem.question} {problem.solution}".split() if word.isdigit()):
            yield problem


@cache
def asked(count: int = ASKED) -> list[tasks.Problem]:
    """Make problems to test with, all with different sentences and numbers, which no training problem has."""
    found: dict[str, tasks.Problem] = {}
    for problem in small(0, tuple(tasks.HELD_OUT)):
        found.setdefault(problem.skeleton, problem)
        if len(found) == count:
            break
    return list(found.values())


@cache
def pool(at: int, rows: int) -> list[tuple[Tensor, Tensor]]:
    """Make POOL batches, rows of like length together; the same ones for every family and seed."""
    problems = list(itertools.islice(small(at << 24), POOL * rows))
    problems.sort(key=lambda p: len(p.question.split()))
    parts = torch.randperm(POOL, generator=torch.Generator().manual_seed(at)).tolist()
    return [encode(problems[i * rows : (i + 1) * rows]) for i in parts]


class Stream:
    """The batches of a run; counts the `tokens` that were read."""

    def __init__(self, rows: int):
        self.rows, self.tokens = rows, 0

    def __call__(self, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x0, valid = pool(step // POOL % POOLS, self.rows)[step % POOL]
        self.tokens += x0.numel()
        return x0, valid
