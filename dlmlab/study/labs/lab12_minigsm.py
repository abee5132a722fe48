"""Lab 12: the families on mini-GSM, at a quarter of the width of LLaDA-mini.

Every problem has one equation, so every solution has nine tokens with its end mark. The question stands before it and
is never noised: what is measured is p(solution | question), whose floor is 0 nats, since the solution is a function of
the question. All runs see the same problems in the same order; the seed draws weights and
noise.
"""

from functools import cache

import torch
from torch import Tensor

from dlmlab.decode.ancestral import Denoise
from dlmlab.network.checkpoint import load
from dlmlab.study.labs.lab12_families import Family, Size
from dlmlab.task import layout, tasks

WINDOW, LONGEST, POOL = 9, 48, 8  # tokens of a solution with its end mark; of a row; batches sorted together
SIZE = Size(d_model=48, n_layers=6, n_heads=3, hidden=128, steps=1_200, rows=64, rate=3e-3)
TESTED = 500


def encode(problems: list[tasks.Problem]) -> tuple[Tensor, Tensor]:
    """Lay out problems with their solutions on the right: ids (B, L) and which of them are real, (B, L) bool."""
    rows = layout.encode_rows(load("llada-mini").tokenizer, problems, side="left", answer_length=WINDOW)
    return rows.x0, rows.valid


@cache
def asked() -> list[tasks.Problem]:
    """Make the test problems of one equation, all different."""
    found: dict[str, tasks.Problem] = {}
    seed = 0
    while len(found) < TESTED:
        problem = tasks.make_problem(seed, split="test", steps=1)
        found.setdefault(problem.skeleton, problem)
        seed += 1
    return list(found.values())


@cache
def pool(at: int, rows: int) -> list[tuple[Tensor, Tensor]]:
    """Make POOL batches of fresh problems, rows of like length together; the same ones for every family and seed."""
    n = POOL * rows
    problems = [tasks.make_problem(at * n + i, steps=1) for i in range(n)]
    problems.sort(key=lambda p: len(p.question.split()))
    parts = torch.randperm(POOL, generator=torch.Generator().manual_seed(at)).tolist()
    return [encode(problems[i * rows : (i + 1) * rows]) for i in parts]


class Stream:
    """The batches of a run; counts the `tokens` that were read."""

    def __init__(self, rows: int):
        self.rows, self.tokens = rows, 0

    def __call__(self, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x0, valid = pool(step // POOL, self.rows)[step % POOL]
        self.tokens += x0.numel()
        return x0, valid


def network(name: str, seed: int, size: Size = SIZE) -> Family:
    """Make the untrained network of a family."""
    tokenizer = load("llada-mini").tokenizer
    V, mask_id = len(tokenizer), tokenizer.mask_token_id
    return Family(name, size, V=V, mask_id=mask_id, window=WINDOW, longest=LONGEST, seed=seed)


def reader(family: Family, prompts: Tensor, valid: Tensor) -> Denoise:
    """Read solutions behind their questions: (ids (r B, 9), alpha) -> logits, for prompts (B, P) r times over.

    `valid` (B, P + 9) bool.
    """

    def read(z: Tensor, alpha: Tensor) -> Tensor:
        times = len(z) // len(prompts)
        return family.logits(torch.cat([prompts.repeat(times, 1), z], 1), alpha, valid.repeat(times, 1))

    return read
