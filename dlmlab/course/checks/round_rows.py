"""Exercise 5.1. Rows on both sides of zero, on one side, all zero; then random ones at several widths."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import NOTHING, Cases, close, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def _run(fn: Callable, W: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    with untouched(W=W):
        out = fn(W, bits)
    require(out is not None, NOTHING)
    require(isinstance(out, tuple) and len(out) == 3, "return three tensors: codes, scale, zero")
    names = ("codes", "scale", "zero")
    shapes = (tuple(W.shape), (len(W), 1), (len(W), 1))
    for name, value, shape, dtype in zip(names, out, shapes, (torch.int32, W.dtype, torch.int32), strict=True):
        expect_tensor(value, shape, dtype, name)
    return out


def check_round_rows(fn: Callable) -> None:
    """Judge an answer to 5.1."""
    codes, scale, zero = _run(fn, torch.tensor([[-1.0, 0.3, 2.0, 0.6]]), 2)
    require(not close(scale, [[0.75]]), "a grid of 2 bits has 4 points and 3 steps between them: divide by 2^bits - 1")
    require(not close(scale, [[2.0]]), "the codes run from 0: one step is the whole range, low to high, over 3")
    require(close(scale, [[1.0]]), f"low -1, high 2 and 3 steps give the scale 1, got {float(scale):.3g}")
    require(int(zero) != -1, "zero is the code of the number 0, which lies above the lowest code: round(-low / scale)")
    require(int(zero) == 1, f"the number 0 has the code 1 here, got {int(zero)}")
    require(
        codes.tolist() != [[0, 1, 3, 1]], "0.6 is nearer to 1 than to 0: round to the nearest point, do not cut off"
    )
    require(codes.tolist() == [[0, 1, 3, 2]], f"the codes should be 0, 1, 3, 2; got {codes.tolist()[0]}")
    codes, scale, zero = _run(fn, torch.tensor([[0.5, 1.1, 1.5], [-1.5, -0.3, -0.5]]), 2)
    require(
        close(scale, [[0.5], [0.5]]) and zero.tolist() == [[0], [3]],
        "a row of one sign: widen its range to 0, or the number 0 is not on the grid and a pruned weight comes back",
    )
    require(codes.tolist() == [[1, 2, 3], [0, 2, 2]], f"the codes of rows of one sign are {codes.tolist()}")
    codes, scale, zero = _run(fn, torch.tensor([[0.0, 0.0], [3.0, 0.0]]), 4)
    require(bool(scale.isfinite().all()) and close(scale, [[1.0], [0.2]]), "a row of zeros has the scale 1, not 0 / 0")
    require(
        codes.tolist() == [[0, 0], [15, 0]] and not zero.any(), f"codes of a row of zeros and of 3, 0: {codes.tolist()}"
    )
    codes, scale, zero = _run(fn, torch.tensor([[-7.5, 7.5]]), 4)
    require(int(codes.max()) < 16, "code 16 does not fit into 4 bits: two halves were rounded up, clamp to 0..15")
    require(
        close(scale, [[1.0]]) and int(zero) == 8 and codes.tolist() == [[0, 15]],
        f"-7.5 and 7.5 lie halfway: round takes a half to the even neighbour; codes {codes.tolist()}, zero {int(zero)}",
    )
    _expect_on_random_rows(fn)


def _expect_on_random_rows(fn: Callable) -> None:
    """Codes exactly, but where a weight lies halfway between two points: there either is right."""
    draw = Cases(51)
    for R, C, bits in ((1, 1, 3), (1, 9, 2), (5, 4, 1), (7, 33, 3), (3, 64, 4), (6, 20, 8)):
        W = draw.normal(R, C) + draw.uniform(R, 1, low=-1, high=1)
        low, high = W.double().amin(1, keepdim=True).clamp(max=0), W.double().amax(1, keepdim=True).clamp(min=0)
        step = (high - low) / (2**bits - 1)
        offset = -low / step
        offset = torch.where((offset % 1 - 0.5).abs() < 1e-3, float("nan"), offset.round())
        case = f"{R} rows of {C} at {bits} bits"
        codes, scale, zero = _run(fn, W, bits)
        expect_same(scale, step.float(), f"scale, {case}")
        sure = offset.isfinite()
        expect_same(zero.where(sure, 0), offset.nan_to_num().int(), f"zero, {case}")
        y = W / step + zero
        sure = (y % 1 - 0.5).abs() > 1e-3
        right = y.round().clamp(0, 2**bits - 1).int()
        expect_same(codes.where(sure, 0), right.where(sure, 0), f"codes, {case}")


EXERCISE = Exercise(
    id="5.1",
    title="Round a row to a grid that holds zero",
    minutes=15,
    difficulty=2,
    objective="Lay a grid of 2^b points over a row of weights and name the nearest point of each.",
    path="dlmlab.grids.round_rows",
    stub='''\
def round_rows(W: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Round each row of W to the nearest points of a grid of its own, on which the number 0 lies.

        scale = (high - low) / (2^bits - 1)      zero = round(-low / scale)      code = round(w / scale) + zero

    low and high are the lowest and the highest weight of the row, but low is at most 0 and high at least 0; codes run
    from 0 to 2^bits - 1. A row of zeros has the scale 1. `round` takes a half to the even neighbour, as in torch. A
    code stands for the number scale * (code - zero).
    Shapes: W (R, C) float -> codes (R, C) int32, scale (R, 1) of W's dtype, zero (R, 1) int32. W is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Do a row of three weights on paper first, at 2 bits: which four numbers lie on the grid, and is 0 among them?",
        "Lowest and highest of each row keep their dimension, so that they broadcast; the one is cut at 0 from above, "
        "the other from below. Round twice: the place of zero, and every weight.",
        "low = W.amin(1, keepdim=True).clamp(max=0); the codes are ((W / scale).round() + zero).clamp(0, 2**bits - 1).",
    ),
    check=check_round_rows,
)
