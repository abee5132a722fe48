"""Exercise 2.4. Rows with different numbers of maskable tokens, fewer than the row is long; then random rows
and few draws."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import NOTHING, Cases, expect_seeded, expect_tensor, require, seeded, untouched
from dlmlab.course.exercises import Exercise


def check_count_masks(fn: Callable) -> None:
    """Judge an answer to 2.4."""
    maskable = torch.tensor([[0, 1, 1, 0, 1, 1, 0], [1, 0, 0, 1, 0, 0, 1], [0, 1, 1, 0, 1, 1, 0]], dtype=torch.bool)
    n = maskable.sum(1)  # 4, 3, 4

    def run(draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        with untouched(maskable=maskable):
            out = fn(maskable, draws=draws, generator=generator)
        require(out is not None, NOTHING)
        require(isinstance(out, tuple) and len(out) == 2, "return two tensors: masked, weight")
        expect_tensor(out[0], (3, draws, 7), torch.bool, "masked")
        expect_tensor(out[1], (3, draws), torch.float64, "weight")
        return out

    expect_seeded(lambda generator: run(30, generator)[0])
    masked, weight = run(1200, seeded(0))
    count = masked.sum(-1)  # (3, 1200)
    require(not (masked & ~maskable[:, None]).any(), "tokens that are not maskable were masked")
    require(count.min() > 0, "some draws mask nothing: the count l runs from 1 to n, not from 0")
    require(bool((count.amax(1) == n).all()), "no draw masks all n maskable tokens: the count l runs from 1 to n")
    product = weight * count / n[:, None]
    require(not torch.allclose(weight, count / n[:, None].double()), "the weight is l / n, it should be n / l")
    require(
        not torch.allclose(product, 7 / n[:, None].expand_as(product).double()),
        "the weight is L / l: n counts the maskable tokens of the row, not all of them",
    )
    require(torch.allclose(product, torch.ones_like(product)), "the weight should be n / l, with l the number of masks")
    shares = torch.stack([(count == size).double().mean(1) for size in range(1, 5)], 1)  # (3, 4)
    even = torch.where(torch.arange(1, 5) <= n[:, None], 1 / n[:, None].double(), 0.0)
    require(torch.allclose(shares, even, atol=0.06), "the counts 1..n should come equally often")
    require(
        torch.allclose(shares, even, atol=2 / 1200),
        "the counts are independent draws: take an even grid of 1..n with one random shift, which varies less",
    )
    _expect_random_sets(masked, count, maskable)
    _expect_random_shift(run)
    _expect_on_random_rows(fn)


def _expect_on_random_rows(fn: Callable) -> None:
    """Whatever is drawn: l tokens with the weight n / l, and no count comes more than once too often."""
    draw = Cases(0)
    for B, L, draws in ((1, 1, 1), (1, 9, 4), (5, 6, 1), (3, 12, 7), (6, 5, 40), (2, 30, 16)):
        maskable = draw.bools(B, L, share=0.6)
        maskable[:, 0] |= ~maskable.any(1)  # one token or more
        with untouched(maskable=maskable):
            masked, weight = fn(maskable, draws=draws, generator=draw.generator)
        expect_tensor(masked, (B, draws, L), torch.bool, "masked")
        expect_tensor(weight, (B, draws), torch.float64, "weight")
        n, count, case = maskable.sum(1, keepdim=True), masked.sum(-1), f"{B} rows of {L}, {draws} draws"
        require(not (masked & ~maskable[:, None]).any(), f"tokens that are not maskable were masked; {case}")
        require(bool(((count >= 1) & (count <= n)).all()), f"the count l runs from 1 to n; {case}")
        require(torch.allclose(weight * count, n.double().expand_as(weight)), f"the weight should be n / l; {case}")
        for b in range(B):
            for size in range(1, int(n[b]) + 1):
                times = int((count[b] == size).sum())
                require(
                    abs(times - draws / int(n[b])) < 1 + 1e-9,
                    f"of {draws} draws {times} mask {size} of {int(n[b])} tokens: an even grid gives each its share",
                )


def _expect_random_sets(masked: Tensor, count: Tensor, maskable: Tensor) -> None:
    pairs = masked[0][count[0] == 2][:, maskable[0]]  # (300, 4)
    kinds, times = pairs.int().unique(dim=0, return_counts=True)
    require(len(kinds) > 1, "one set of tokens for every count: each draw needs a random set of its own")
    require(
        len(kinds) == 6 and int(times.min()) > 25,
        "not every set of l tokens is equally likely: choose l of the maskable tokens without any order",
    )
    require(not torch.equal(masked[0], masked[2]), "two rows share their masks: each row needs its own draws")


def _expect_random_shift(run: Callable) -> None:
    first = torch.stack([run(2, seeded(seed))[0].sum(-1) for seed in range(60)])  # (60, 3, 2)
    require(
        first[:, 0, 0].unique().numel() == 4,
        "the first draw of a row always has the same few counts: shift the grid at random, modulo its length",
    )
    require(not torch.equal(first[:, 0], first[:, 2]), "two rows share the shift of their grid: draw one for each row")


EXERCISE = Exercise(
    id="2.4",
    title="Masks by count",
    minutes=20,
    difficulty=4,
    objective="Draw the masks and weights of LLaDA's likelihood estimator.",
    path="dlmlab.noise.count_masks",
    stub='''\
def count_masks(maskable: Tensor, *, draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mask exactly l of the n maskable tokens of a row, a random set, with the weight n / l.

    The counts l of a row are an even grid over 1..n: draw d has l = floor(n g) + 1, g = (u + d / draws) modulo 1, with
    one uniform u a row. Shapes: maskable (B, L) bool -> masked (B, draws, L) bool, weight (B, draws) float64.
    """
    raise NotImplementedError
''',
    hints=(
        "Two choices: how many tokens, by an even grid with one random shift a row; and which, without any order.",
        "Draw a random key for every token of every draw; the l smallest keys of a row are a random set of l tokens.",
        "Keys of protected tokens are inf; rank = keys.argsort(-1).argsort(-1); masked = rank < l[..., None].",
    ),
    check=check_count_masks,
)
