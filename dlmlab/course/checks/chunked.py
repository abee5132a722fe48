"""Exercise 16.1. Chunks that divide the text and chunks that do not, of one token and of more than all; any decay."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, expect_values, untouched
from dlmlab.course.exercises import Exercise

FLAWS = {
    "alone": "what came before the chunk is lost: the state has to be read, too",
    "fresh": "the state is as old as the last token before the chunk: at the first token one step, at the n-th n steps",
    "late": "the state is one step old at the first token of a chunk already, not 0",
    "ageless": "the state itself ages by a whole chunk, n steps, before the chunk is added to it",
    "unweighted": "the keys of a chunk enter the state with their age at its end: the last one with 0, the first n - 1",
    "too old": "the last token of a chunk is 0 steps old at its end, not 1",
    "turned": "the keys of a chunk enter the state with their age at its end: the last is the youngest, not the first",
    "twice": "the state is read before the chunk is added to it: each key of the chunk is counted twice",
    "ahead": "inside a chunk a token reads itself and what is before it, not what comes after",
    "flat": "inside a chunk scores fade with the distance, too",
}


def check_chunked(fn: Callable) -> None:
    """Judge an answer to 16.1."""

    def run(q: Tensor, k: Tensor, v: Tensor, decay: float, size: int) -> Tensor:
        with untouched(q=q, k=k, v=v):
            out = fn(q, k, v, decay, size)
        expect_tensor(out, (*q.shape[:-1], v.shape[-1]), v.dtype)
        return out

    draw = Cases(161)
    q, k, v = (draw.normal(2, 9, n, dtype=torch.float64) for n in (3, 3, 2))
    wrong = {words: _in_chunks(q, k, v, 0.6, 3, flaw) for flaw, words in FLAWS.items()}
    expect_values(run(q, k, v, 0.6, 3), _whole(q, k, v, 0.6), wrong)
    for L, d, e, decay, size, case in (
        (1, 2, 3, 0.5, 4, "one token"),
        (7, 3, 2, 0.9, 3, "the last chunk is shorter"),
        (5, 2, 2, 0.7, 1, "chunks of one token"),
        (8, 4, 1, 1.0, 4, "no decay"),
        (9, 2, 4, 0.0, 2, "a decay of 0"),
        (6, 3, 3, 0.8, 50, "one chunk holds all"),
        (40, 4, 4, 0.05, 8, "a small decay: only powers that are not negative stay finite"),
    ):
        q, k, v = (draw.normal(draw.int(1, 2), L, n, dtype=torch.float64) for n in (d, d, e))
        q, k = q[:1], k[:1]
        expect_same(run(q, k, v[:1], decay, size), _whole(q, k, v[:1], decay), case, tol=1e-9)
    q, k, v = (draw.normal(2, 3, 11, 4) for _ in range(3))
    expect_same(run(q, k, v, 0.9, 4), _whole(q, k, v, 0.9), "two leading dimensions, float32", tol=1e-4)


def _whole(q: Tensor, k: Tensor, v: Tensor, decay: float) -> Tensor:
    L = q.shape[-2]
    D = torch.tensor([[decay ** (i - j) if i >= j else 0.0 for j in range(L)] for i in range(L)], dtype=q.dtype)
    return (torch.einsum("...id,...jd->...ij", q, k) * D) @ v


def _in_chunks(q: Tensor, k: Tensor, v: Tensor, decay: float, n: int, flaw: str) -> Tensor:
    state, out = torch.zeros(*q.shape[:-2], q.shape[-1], v.shape[-1], dtype=q.dtype), []
    steps = torch.arange(n, dtype=q.dtype)
    apart = (steps[:, None] - steps).abs()
    inside = torch.ones_like(apart) if flaw == "flat" else decay**apart
    since = {"fresh": torch.ones(n, dtype=q.dtype), "late": decay**steps}.get(flaw, decay ** (steps + 1))
    age = {"too old": n - steps, "turned": steps, "unweighted": 0 * steps}.get(flaw, n - 1 - steps)
    for Q, K, V in zip(q.split(n, -2), k.split(n, -2), v.split(n, -2), strict=True):
        here = (Q @ K.mT * (inside if flaw == "ahead" else inside.tril())) @ V
        new = (1.0 if flaw == "ageless" else decay**n) * state + ((decay**age)[:, None] * K).mT @ V
        before = 0 * state if flaw == "alone" else new if flaw == "twice" else state
        out.append(here + since[:, None] * (Q @ before))
        state = new
    return torch.cat(out, -2)


EXERCISE = Exercise(
    id="16.1",
    title="The chunk form",
    minutes=15,
    difficulty=4,
    objective="Derive the chunk form of linear attention from its matrix and its recurrence.",
    path="dlmlab.linear.chunked",
    stub='''\
def chunked(q: Tensor, k: Tensor, v: Tensor, decay: float = 1.0, size: int = 64) -> Tensor:
    """Mix values chunk by chunk: out_i = sum over j <= i of decay^(i - j) (q_i . k_j) v_j.

    Inside a chunk of n tokens by its n x n matrix; from before the chunk by one state S (d, e), which is 0 at first.
    Shapes: q, k (..., L, d), v (..., L, e) -> (..., L, e). The last chunk may be shorter.
    """
    raise NotImplementedError
''',
    hints=(
        "A key before the chunk lies some steps before its end, and a query some steps after it. How old is the state "
        "when the first query of the next chunk reads it? How old is the last key when it enters the state?",
        "Two parts are added up: the causal matrix of the chunk, and the query times the state, faded by one step for "
        "the first token and by n for the last. Then the state fades by n steps, and takes each key with its age at "
        "the end of the chunk, which is 0 for the last.",
        "since = decay ** torch.arange(1, n + 1); until = decay ** torch.arange(n - 1, -1, -1), both [:, None] and of "
        "q's dtype; out = inside + since * (Q @ state); state = decay**n * state + (until * K).transpose(-1, -2) @ V",
    ),
    check=check_chunked,
)
