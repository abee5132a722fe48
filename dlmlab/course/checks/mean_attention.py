"""Exercise 3.1. Looked at: column sums of real maps, causal and not, against the mean over the queries that see;
then of many shapes, whose columns are summed up one by one."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require, seeded, show, untouched
from dlmlab.course.exercises import Exercise


def check_mean_attention(fn: Callable) -> None:
    """Judge an answer to 3.1."""
    scores = torch.randn(2, 3, 5, 5, generator=seeded(0))  # (B, H, L, L), no two sizes alike
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    for causal in (False, True):
        maps = (scores.masked_fill(future, float("-inf")) if causal else scores).softmax(-1)
        sums = maps.sum(2)  # (B, H, L)
        with untouched(sums=sums):
            alpha = fn(sums, causal=causal)
        expect_tensor(alpha, (2, 3, 5), torch.float32)
        right = torch.stack([maps[..., k if causal else 0 :, k].mean(-1) for k in range(5)], -1)
        if not torch.allclose(alpha, right, atol=1e-5):
            _explain(alpha, sums, right, causal)
    draw = Cases(0)
    for shape in ((1,), (7,), (2, 1), (3, 4), (1, 2, 6), (2, 1, 3, 9)):
        L = shape[-1]
        for causal in (False, True):
            sums = draw.uniform(*shape, low=0.1, high=4.0)
            each = [sums[..., k] / (L - k if causal else L) for k in range(L)]
            with untouched(sums=sums):
                alpha = fn(sums, causal=causal)
            expect_same(alpha, torch.stack(each, -1), f"shape {shape}, causal={causal}")


def _explain(alpha: Tensor, sums: Tensor, right: Tensor, causal: bool) -> None:
    seen_by = torch.arange(5, 0, -1)
    mistakes = (
        (sums, "these are still sums (their mean over the row is 1): divide by the number of queries"),
        (sums / seen_by if not causal else None, "divided by L - k although every query sees every key: not causal"),
        (sums / 5 if causal else None, "divided by L although causal: the queries before key k cannot see it"),
        (sums / (6 - seen_by), "divided by k + 1: so many keys query k sees; wanted are the queries that see key k"),
        (sums / (seen_by + 1), "divided by L - k + 1: the paper counts positions from 1, here k starts at 0"),
        (sums / (seen_by - 1), "divided by L - k - 1: a query sees its own position, too"),
        (sums / sums.shape[1], "divided by the number of heads: the last dimension holds the positions"),
    )
    for wrong, message in mistakes:
        require(wrong is None or not torch.allclose(alpha, wrong, atol=1e-5), message)
    raise AssertionError(f"with causal={causal} the first head gets {show(alpha[0, 0])}, should be {show(right[0, 0])}")


EXERCISE = Exercise(
    id="3.1",
    title="Average the attention of a key",
    minutes=5,
    difficulty=1,
    objective="Turn column sums into a mean that is fair to late keys of a causal model.",
    path="dlmlab.sinks.mean_attention",
    stub='''\
def mean_attention(sums: Tensor, *, causal: bool) -> Tensor:
    """Average the attention that each key receives over the queries that can see it.

    sums[..., k] adds up what the queries 0..L-1 give to key k. Not causal: every query sees every key; causal: query
    i sees the keys 0..i. Shapes: (..., L) -> (..., L). `sums` is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "A sum over queries becomes a mean when divided by their number. Which queries see key 0, which key L - 1?",
        "A query cannot look ahead: in a causal model the later a key, the fewer queries see it. Count for L of 3.",
        "Not causal: sums / L. Causal: key k is seen by the queries k..L-1; torch.arange(L, 0, -1) counts them.",
    ),
    check=check_mean_attention,
)
