"""Exercise 18.3. Blocks whose scales are powers of two and whose entries are quarters of them, so that every code is
exact on every machine; and one block in which the order of rounding decides."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import NOTHING, Cases, close, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise

TOL = 2.5e-3  # of scales: float16 has three digits


def check_q4_0(fn: Callable) -> None:
    """Judge an answer to 18.3."""

    def run(w: Tensor) -> tuple[Tensor, Tensor]:
        with untouched(w=w):
            out = fn(w)
        require(out is not None, NOTHING)
        require(isinstance(out, tuple) and len(out) == 2, "two results are wanted: d, codes")
        d, codes = out
        expect_tensor(d, (len(w), 1), torch.float16, "d")
        expect_tensor(codes, tuple(w.shape), torch.int32, "codes")
        return d, codes

    w = torch.zeros(4, 32)
    w[0, :5] = torch.tensor([4.0, -2.0, 0.5, 0.25, -4.0])  # extreme +4, first; -4 of equal size
    w[1, :4] = torch.tensor([-8.0, 8.0, 7.0, 0.5])  # extreme -8, first
    w[2, :4] = torch.tensor([3.0, -16.0, 9.0, 1.0])  # extreme is not the largest value
    d, codes = run(w)
    require(bool(d[:3].isfinite().all()), "d is not finite")
    require(
        not close(d[:3, 0], [0.5, 1.0, 2.0], TOL) or bool((codes[0, 0] == 0).all()),
        "the extreme keeps its sign: with a positive one d is negative, and the extreme itself gets the code 0",
    )
    require(
        not close(d[:3, 0], [-4 / 7, 8 / 7, 16 / 7], TOL),
        "over -8, not over 7: Q4_0 has sixteen levels, from -8 d to 7 d",
    )
    require(not close(d[:3, 0], [0.5, -1.0, -2.0], TOL), "over -8: d has the other sign")
    require(close(d[2], [2.0], TOL), "the extreme is the entry of largest *size*; in the third block that is -16")
    require(close(d[0], [-0.5], TOL), "of two entries of equal size the first one decides: 4 before -4 gives d = -0.5")
    require(int(codes.min()) >= 0, "codes run from 0 to 15: 8 stands for nothing")
    require(int(codes.max()) <= 15, "-4 lies eight steps from 0 on the short side: there is no code 16, clip it to 15")
    require(
        int(codes[1, 3]) == 9 and int(codes[0, 3]) == 8,
        "half a step goes *up*: floor(x + 8.5), not a rounding to the nearest even number",
    )
    require(bool((codes[3] == 8).all()) and close(d[3], [0.0], TOL), "a block of zeros has d = 0 and all codes 8")
    for got, right, name in zip((d, codes), _right(w), ("scales", "codes"), strict=True):
        expect_same(got, right, f"{name} of four blocks", TOL)
    odd = torch.zeros(1, 32)
    odd[0, :2] = torch.tensor([-8.0032, 2.5003])  # d = 1.0004, stored as 1: 2.4993 steps, or 2.5003
    d, codes = run(odd)
    require(
        int(codes[0, 1]) != 11,
        "codes are made with d in float32, and only the stored d is rounded: 2.5003 is 2.4993 steps of 1.0004",
    )
    expect_same(d, torch.tensor([[1.0004]]).half(), "a scale that float16 rounds", TOL)
    expect_same(codes, torch.tensor([[0, 10] + 30 * [8]], dtype=torch.int32), "a scale that float16 rounds")
    draw = Cases(183)
    for n in (1, 2, 3, 5, 8, 1, 4):
        quarters = draw.ids(65, n, 32) - 32  # of a step, -8 to 8 of them
        at = draw.ids(32, n, 1)
        quarters = quarters.scatter(1, at, torch.where(draw.bools(n, 1), 32, -32))
        w = quarters / 4 * 2.0 ** (draw.ids(6, n, 1) - 6)
        if n == 8:
            w[3] = 0
        for got, right, name in zip(run(w), _right(w), ("scales", "codes"), strict=True):
            expect_same(got, right, f"{name} of {n} blocks", TOL)


def _right(w: Tensor) -> tuple[Tensor, Tensor]:
    d, codes = torch.zeros(len(w), 1), torch.full(w.shape, 8, dtype=torch.int32)
    for i, block in enumerate(w.tolist()):
        extreme = max(block, key=abs)  # the first of equal size
        d[i] = extreme / -8
        for j, value in enumerate(block):
            if extreme:
                codes[i, j] = min(15, int(value / (extreme / -8) + 8.5))  # never below 0: int cuts as floor does
    return d.half(), codes


EXERCISE = Exercise(
    id="18.3",
    title="Sixteen levels, one line",
    minutes=15,
    difficulty=3,
    objective="Write the four-bit grid of llama.cpp so that its bytes are the same.",
    path="dlmlab.ggml.q4_0",
    stub='''\
def q4_0(w: Tensor) -> tuple[Tensor, Tensor]:
    """Put blocks w (n, 32) on the grid of Q4_0: scales d (n, 1) float16, codes (n, 32) int32 from 0 to 15.

    d is the entry of largest size, with its sign, over -8 (of equal sizes the first). A code is floor(w / d + 8.5),
    made with d in float32, and at most 15. A block of zeros has d = 0 and codes 8. What comes back is d (code - 8).
    """
    raise NotImplementedError
''',
    hints=(
        "What is w / d for the extreme itself, and which code does it get? And for an entry of the same size with the "
        "other sign?",
        "Find where the size is largest and fetch the entry from there, so that the sign stays. Divide by d where it "
        "is not 0. Only what is returned is rounded to float16.",
        "d = w.gather(1, w.abs().argmax(1, keepdim=True)) / -8; codes = (w / torch.where(d == 0, 1, d) + 8.5).floor()"
        ".clamp(0, 15); return d.half(), codes.int()",
    ),
    check=check_q4_0,
)
