"""Exercise 5.6. Bytes whose halves differ; an odd number of codes, one, none; bytes above 127; then random ones."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_unpack_nibbles(fn: Callable) -> None:
    """Judge an answer to 5.6."""

    def run(packed: Tensor, n: int) -> Tensor:
        with untouched(packed=packed):
            out = fn(packed, n)
        expect_tensor(out, (n,), torch.int32)
        return out

    two = torch.tensor([33, 143], dtype=torch.uint8)
    out = run(two, 4).tolist()
    require(out != [2, 1, 8, 15], "the low half of a byte comes first, then the high half")
    require(
        out != [1, 15, 2, 8], "the two halves of one byte are neighbours: take turns, do not append all high halves"
    )
    require(out == [1, 2, 15, 8], f"the bytes 33 and 143 hold 1, 2, 15, 8; got {out}")
    require(run(torch.tensor([101, 7], dtype=torch.uint8), 3).tolist() == [5, 6, 7], "of three codes the third is 7")
    draw = Cases(56)
    for n in (0, 1, 2, 9, 34, 255):
        codes = draw.ids(16, n).int()
        flat = [*codes.tolist(), 0]
        packed = torch.tensor([flat[i] + 16 * flat[i + 1] for i in range(0, n, 2)], dtype=torch.uint8)
        expect_same(run(packed, n), codes, f"{n} codes")


EXERCISE = Exercise(
    id="5.6",
    title="And back",
    minutes=10,
    difficulty=2,
    objective="Read codes of four bits out of their bytes.",
    path="dlmlab.packed.unpack_nibbles",
    stub='''\
def unpack_nibbles(packed: Tensor, n: int) -> Tensor:
    """Restore n codes 0..15 from bytes that hold two each, the first in the low half, the second in the high half.

    Shapes: packed uint8 (ceil(n / 2),) -> int32 (n,). `packed` is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Which operation keeps the low half of a number below 256, and which one leaves the high half?",
        "The remainder and the quotient of sixteen are the two codes; put them side by side, byte after byte, and drop "
        "the one that only fills the last byte.",
        "torch.stack([packed % 16, packed // 16], 1).flatten()[:n].int()",
    ),
    check=check_unpack_nibbles,
)
