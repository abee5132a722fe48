"""Exercise 7.2. Widths that do not fill a byte, one scale a row and one a group, with and without zero points."""

from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, Cases, require
from dlmlab.course.exercises import Exercise


def check_matrix_bytes(fn: Callable) -> None:
    """Judge an answer to 7.2."""

    def run(R: int, C: int, bits: int, group: int | None, symmetric: bool) -> int:
        got = fn((R, C), _Grid(bits, group, symmetric))
        require(got is not None, NOTHING)
        require(isinstance(got, int), f"bytes are a whole number, got a {type(got).__name__}")
        return got

    got = run(4, 8, 8, None, True)
    require(got != 4 * 8, "the scales are missing: without them the codes mean nothing; 2 bytes each")
    require(got != 4 * 8 + 4 * 4, "a scale is stored in float16, 2 bytes, not 4")
    require(got != 4 * 8 + 2, "a matrix without groups has one scale for each row, not one in all")
    require(got == 4 * 8 + 4 * 2, f"4 rows of 8 codes of one byte, 4 scales of 2: 40 bytes, got {got}")
    got = run(2, 128, 4, 64, True)
    require(got != 2 * 128 // 2 + 2 * 2, "with groups of 64 a row of 128 has two scales")
    require(got == 128 + 4 * 2, f"128 bytes of nibbles and 4 scales of 2 bytes: 136, got {got}")
    got = run(2, 128, 4, 64, False)
    require(got != 136, "an asymmetric grid stores a zero point for each scale")
    require(got not in (136 + 4, 136 + 8), "zero points are packed like the codes: `bits` bits each, not whole bytes")
    require(got == 138, f"136 bytes and 4 zero points of half a byte: 138, got {got}")
    got = run(5, 3, 3, None, True)
    require(got != 5 * 2 + 10, "codes are packed over the whole matrix: only the last byte may be partly used")
    require(got != 5 + 10, "45 bits need 6 bytes: round up, once")
    require(got == 6 + 10, f"15 codes of 3 bits fill 6 bytes, 5 scales take 10: 16, got {got}")
    draw = Cases(0)
    for _ in range(60):
        bits, groups, group = draw.int(2, 8), draw.int(1, 4), draw.int(1, 40)
        R, symmetric = draw.int(1, 17), bool(draw.int(0, 1))
        C, g = groups * group, group if draw.int(0, 2) else None
        scales = R * (C // (g or C))
        right = (R * C * bits + 7) // 8 + 2 * scales + (0 if symmetric else (scales * bits + 7) // 8)
        got = run(R, C, bits, g, symmetric)
        require(
            got == right,
            f"{R} x {C}, {bits} bits, group {g}, symmetric {symmetric}: {right} bytes, got {got}; codes, scales and "
            "zero points each fill whole bytes",
        )


class _Grid:
    """A grid as the package describes it; an answer needs the first three values."""

    granularity, codes, scale = "row", None, "fp16"

    def __init__(self, bits: int, group: int | None, symmetric: bool):
        self.bits, self.group, self.symmetric = bits, group, symmetric


EXERCISE = Exercise(
    id="7.2",
    title="Count the bytes of a packed matrix",
    minutes=10,
    difficulty=2,
    objective="Say what a model in few bits really weighs, scales and zero points included.",
    path="dlmlab.packed.matrix_bytes",
    stub='''\
def matrix_bytes(shape: tuple[int, int], spec) -> int:
    """Count the bytes of a matrix of (R, C) weights in few bits.

    Three parts, each packed without gaps and rounded up to whole bytes once: R * C codes of `spec.bits` bits; one scale
    of 2 bytes for each group of `spec.group` columns of a row (None: the whole row); and, unless `spec.symmetric`, one
    zero point of `spec.bits` bits for each scale.
    """
    raise NotImplementedError
''',
    hints=(
        "Which of the three parts grows with the number of weights, which with the number of groups?",
        "Count the codes, the scales and zero points first; turn each count into bits, then into bytes, rounding up.",
        "scales = R * (C // (spec.group or C)); bits to bytes: -(-n // 8).",
    ),
    check=check_matrix_bytes,
)
