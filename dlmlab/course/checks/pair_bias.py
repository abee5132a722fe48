"""Exercise 7.4. Find the bugs of a training mask: block lengths that do not divide the text, one block, one token."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import NOTHING, Cases, expect_tensor, require
from dlmlab.course.exercises import Exercise


def check_pair_bias(fn: Callable) -> None:
    """Judge an answer to 7.4."""
    draw = Cases(0)
    sizes = [(6, 2), (1, 1), (5, 1), (4, 9), (7, 3)] + [(draw.int(1, 12), draw.int(1, 6)) for _ in range(8)]
    for L, block in sizes:
        bias = fn(L, block)
        require(bias is not None, NOTHING)
        expect_tensor(bias, (1, 1, 2 * L, 2 * L), torch.float32)
        require(not bool(bias.isnan().any()), "the mask holds nan: -inf times 0 is none")
        seen = bias[0, 0] == 0
        closed = bias[0, 0].isneginf()
        require(bool((seen | closed).all()), "the mask is added to scores: 0 where a key is seen, -inf else")
        _judge(seen, L, block)


def _judge(seen: Tensor, L: int, block: int) -> None:
    """Compare what each half sees of each half with the rule, the worst mistake first."""
    case = f"{L} tokens in blocks of {block}"
    for i in range(L):
        for j in range(L):
            b, c = i // block, j // block
            require(
                not (seen[i, L + j] and b == c),
                f"a noised token sees the clean text of its own block: it reads its answer there; {case}",
            )
            require(
                not (seen[i, L + j] and b < c),
                f"a noised token sees clean text of a later block, which does not exist yet when it is decoded; {case}",
            )
            require(
                bool(seen[i, L + j]) == (b > c),
                f"a noised token must see clean text of every earlier block; {case}",
            )
            require(
                not (seen[i, j] and b != c),
                f"a noised token sees noised tokens of another block; when decoded, earlier blocks are clean; {case}",
            )
            require(
                bool(seen[i, j]) == (b == c), f"a noised token must see its own block, itself and both sides; {case}"
            )
            require(not seen[L + i, j], f"clean text sees noised text: its keys are cached before there is any; {case}")
            require(
                not (seen[L + i, L + j] and b < c),
                f"clean text sees a later block: no key could be cached; {case}",
            )
            require(
                bool(seen[L + i, L + j]) == (b >= c),
                f"clean text sees its own block, both sides, and those before it; {case}",
            )


EXERCISE = Exercise(
    id="7.4",
    title="Find the bugs of a training mask",
    minutes=15,
    difficulty=3,
    objective="Say who may see whom when block diffusion is trained in one forward, and find a leak.",
    path="dlmlab.blockwise.pair_bias",
    stub='''\
def pair_bias(L: int, block: int) -> Tensor:
    """Make the additive mask of [noised text ; clean text], (1, 1, 2L, 2L) float32: 0 where seen, -inf elsewhere.

    Token i of either half is in block i // block. A noised token sees the noised tokens of its own block and the clean
    ones of earlier blocks; a clean token the clean ones of its own block and of earlier ones; nothing else.
    """
    # Three bugs stand below; one of them makes the loss wonderfully low.
    b = torch.arange(2 * L) % L // block
    allowed = b[:, None] >= b
    return torch.zeros(2 * L, 2 * L).masked_fill(~allowed, float("-inf"))[None, None]
''',
    hints=(
        "Draw the four quarters for four tokens in blocks of two. Which quarter is empty, and which one leaks?",
        "One comparison for each quarter: equal, greater, never, greater or equal. One rule for all four leaks.",
        "torch.cat([torch.cat([own, before], 1), torch.cat([zeros, own | before], 1)])[None, None] before the -inf.",
    ),
    check=check_pair_bias,
    kind="find the bug",
)
