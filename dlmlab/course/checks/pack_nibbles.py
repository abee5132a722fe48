"""Exercise 5.3. Codes that differ in each place; an odd number of them, one, none; a matrix; then random ones."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def _right(codes: Tensor) -> Tensor:
    flat = [*codes.flatten().tolist(), 0]
    return torch.tensor([flat[i] + 16 * flat[i + 1] for i in range(0, codes.numel(), 2)], dtype=torch.uint8)


def check_pack_nibbles(fn: Callable) -> None:
    """Judge an answer to 5.3."""

    def run(codes: Tensor) -> Tensor:
        with untouched(codes=codes):
            out = fn(codes)
        expect_tensor(out, (-(-codes.numel() // 2),), torch.uint8)
        return out

    out = run(torch.tensor([1, 2, 15, 8], dtype=torch.int32)).tolist()
    require(out != [18, 248], "the first code of a pair is the low half of the byte, the second the high half")
    require(
        out != [241, 130], "a byte holds neighbours: the first code with the second, not with one from the far half"
    )
    require(out == [33, 143], f"1, 2, 15, 8 are the bytes 2 * 16 + 1 = 33 and 8 * 16 + 15 = 143; got {out}")
    out = run(torch.tensor([5, 6, 7], dtype=torch.int32)).tolist()
    require(out == [101, 7], f"an odd number of codes: the last byte holds the last code and 0; got {out}")
    out = run(torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.int32)).tolist()
    require(out == [33, 67, 101], f"rows follow each other without a gap: 1 2, 3 4, 5 6 are 33, 67, 101; got {out}")
    draw = Cases(53)
    for shape, dtype in (((0,), torch.int32), ((1,), torch.int32), ((1, 1), torch.int64), ((3, 5), torch.int32),
                         ((16, 33), torch.int64), ((4, 2, 7), torch.int32), ((255,), torch.int32)):  # fmt: skip
        codes = draw.ids(16, *shape).to(dtype)
        expect_same(run(codes), _right(codes), f"codes of shape {shape}")


EXERCISE = Exercise(
    id="5.3",
    title="Two codes in a byte",
    minutes=10,
    difficulty=2,
    objective="Store codes of four bits in half a byte each.",
    path="dlmlab.packed.pack_nibbles",
    stub='''\
def pack_nibbles(codes: Tensor) -> Tensor:
    """Pack codes 0..15, row after row, two to a byte: the first of a pair in the low half, the second in the high half.

    With an odd number of codes the high half of the last byte is 0.
    Shapes: codes, whole numbers of any shape, n of them -> uint8 (ceil(n / 2),). `codes` is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "A byte counts from 0 to 255. How many pairs of codes from 0 to 15 are there, and which number has each pair?",
        "Make the number of codes even, look at them as pairs, and give the second of each pair the weight sixteen.",
        "p = torch.nn.functional.pad(codes.flatten(), (0, codes.numel() % 2)).view(-1, 2); p[:, 0] + 16 * p[:, 1]",
    ),
    check=check_pack_nibbles,
)
