"""Exercise 16.2. Values worked by hand; decays between 0 and 1; texts of one token, lengths that no chunk divides."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, expect_values, untouched
from dlmlab.course.exercises import Exercise


def check_both_sides(fn: Callable) -> None:
    """Judge an answer to 16.2."""

    def run(q: Tensor, k: Tensor, v: Tensor, decay: float) -> Tensor:
        with untouched(q=q, k=k, v=v):
            out = fn(q, k, v, decay)
        expect_tensor(out, (*q.shape[:-1], v.shape[-1]), v.dtype)
        return out

    draw = Cases(162)
    q, k, v = (draw.normal(2, 5, n, dtype=torch.float64) for n in (3, 3, 2))
    D = _fade(5, 0.6)
    scores, one = q @ k.mT, torch.eye(5, dtype=torch.float64)
    wrong = {
        "each token is counted twice: both scans hold the token itself": scores * (D + one) @ v,
        "what comes after a token is missing: scan from the end, too": scores * D.tril() @ v,
        "what comes before a token is missing": scores * D.triu() @ v,
        "the token itself is missing: take it away once, not twice": scores * (D - one) @ v,
        "the scan from the end comes out in reverse: turn it round before the two are added": (
            (scores * D.tril()) @ v + ((scores * D.triu()) @ v).flip(-2) - (scores * one) @ v
        ),
        "the token itself is q . k times v, not v alone": scores * (D + one) @ v - v,
        "the token itself has distance 0: it does not fade": scores * (D + 0.4 * one) @ v,
        "the decay is missing: scores fade with the distance": scores @ v,
        "the sum of the two scans, not their mean": scores * (D + one) @ v / 2,
    }
    expect_values(run(q, k, v, 0.6), (scores * D) @ v, wrong)
    by_hand = [torch.tensor(x, dtype=torch.float64) for x in ([[1, 0], [1, 1], [0, 1]], [[1, 0], [0, 1], [1, 1]])]
    got = run(*by_hand, torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64), 0.5)
    expect_same(got, torch.tensor([[1.75], [5.5], [4.0]], dtype=torch.float64), "three tokens by hand", tol=1e-9)
    for rows, L, d, e, decay, case in (
        (1, 1, 2, 3, 0.5, "one token"),
        (2, 8, 3, 2, 1.0, "no decay: all pairs alike"),
        (1, 9, 2, 4, 0.0, "a decay of 0: nothing but the token itself"),
        (3, 70, 4, 1, 0.9, "70 tokens"),
        (1, 130, 2, 2, 0.3, "130 tokens"),
    ):
        q, k, v = (draw.normal(rows, L, n, dtype=torch.float64) for n in (d, d, e))
        expect_same(run(q, k, v, decay), (q @ k.mT * _fade(L, decay)) @ v, case, tol=1e-9)


def _fade(L: int, decay: float) -> Tensor:
    return torch.tensor([[decay ** abs(i - j) for j in range(L)] for i in range(L)], dtype=torch.float64)


EXERCISE = Exercise(
    id="16.2",
    title="From both sides",
    minutes=10,
    difficulty=2,
    objective="Make two scans into the attention that a masked diffusion model needs.",
    path="dlmlab.linear.both_sides",
    stub='''\
def both_sides(q: Tensor, k: Tensor, v: Tensor, decay: float = 1.0) -> Tensor:
    """Mix values from both sides, by scans: out_i = sum over all j of decay^|i - j| (q_i . k_j) v_j.

    `chunked(q, k, v, decay)` gives the sum over j <= i. Shapes: q, k (..., L, d), v (..., L, e) -> (..., L, e).
    """
    raise NotImplementedError
''',
    hints=(
        "What does `chunked` say of a text that is read backwards, and in which order does it say it? Which pairs are "
        "in both sums?",
        "Turn all three inputs round, scan, and turn the result back. The sum of the two scans holds every token's own "
        "term twice; that term is the score of the token with itself, times its value.",
        "a = chunked(q, k, v, decay); b = chunked(q.flip(-2), k.flip(-2), v.flip(-2), decay).flip(-2); "
        "return a + b - (q * k).sum(-1, keepdim=True) * v",
    ),
    check=check_both_sides,
)
