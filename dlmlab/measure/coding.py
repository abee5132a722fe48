"""An arithmetic coder on whole numbers: a stream of symbols becomes nearly as few bits as its probabilities promise.

Decisions
* The range is a pair of 32-bit whole numbers. Every symbol keeps a part of it as large as its share of a table of whole
  numbers; bits on which both ends agree are written and shifted out. No float enters the coder: writer and reader stay
  together if their *tables* are equal, and only then.
* A table of T bits sums to 2^T exactly, and every symbol that may occur has 1 at least: a symbol of 0 cannot be written
  (`Encoder.push` refuses it), and a sum that is off by one on one side decodes to something else without an error.
* A stream takes 2 bits more than its tables promise, at most, while tables are small beside the range (up to 2^24 in
  the tests). Near 2^30, the most that the range allows, the parts of the range are rounded and it may be more.
* `find` and `narrow` are all that a reader needs of a table; `Encoder` and `Decoder` carry the bits.

Sources: Witten, Neal and Cleary, Communications of the ACM 30(6), 1987 (pending bits, the last quarter); Deletang et
al., arXiv 2309.10668 (a language model as the table). Own implementation.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

TOP = 1 << 32  # the range of a fresh coder is 0 .. TOP - 1
HALF, QUARTER = TOP // 2, TOP // 4
MOST_BITS = 30  # a table may not sum to more than a quarter of the range


def frequencies(p: Tensor, bits: int, allowed: Tensor) -> Tensor:
    """Turn probabilities into whole numbers that sum to 2^bits exactly, each at least 1 where a symbol is allowed.

        f(v) = 1 + floor(p(v) (2^bits - n)) for the n allowed symbols, else 0; the rest goes to the largest allowed p

    Computed in float64; of several largest p the lowest id takes what is left. The probability of what is not allowed
    is not looked at, so p sums to 1 over the others. Shapes: p (..., V) float, allowed (V,) bool -> (..., V) int64.
    Raises `ValueError` when n is 0 or above 2^bits, when 2^bits is more than the coder takes, and when p holds
    something that is no probability.

    >>> frequencies(torch.tensor([0.5, 0.3, 0.2, 0.0]), 4, torch.tensor([True, True, True, False])).tolist()
    [9, 4, 3, 0]
    """
    n, total = int(allowed.sum()), 2**bits
    if not 1 <= n <= total <= 2**MOST_BITS:
        raise ValueError(f"{n} symbols and tables of {bits} bits: need 1 <= n <= 2^bits <= 2^{MOST_BITS}")
    p = torch.where(allowed, p.double(), 0.0)  # (..., V)
    if not bool(((p >= 0) & (p <= 1 + 1e-6)).all()):  # NaN is refused, too
        raise ValueError("p holds something that is no probability")
    f = torch.where(allowed, 1 + (p * (total - n)).floor().long(), 0)
    rest = total - f.sum(-1, keepdim=True)
    return f.scatter_add(-1, p.argmax(-1, keepdim=True), rest)


def narrow(low: int, high: int, start: int, size: int, total: int) -> tuple[int, int]:
    """Keep the part of the range low..high (both included) that the table entries start..start + size - 1 have."""
    span = high - low + 1
    return low + span * start // total, low + span * (start + size) // total - 1


def find(code: int, low: int, high: int, table: Sequence[int]) -> int:
    """Say which symbol of a table has the part of the range low..high (both included) in which `code` lies.

    The inverse of `narrow`: symbol v keeps low + span S(v) // total .. low + span S(v + 1) // total - 1, where S(v) is
    the sum of the table before v and span = high - low + 1. A symbol of 0 keeps nothing. All are whole numbers.

    >>> [find(code, 100, 107, [2, 1, 0, 1]) for code in range(100, 108)]
    [0, 0, 0, 0, 1, 1, 3, 3]
    """
    total = sum(table)
    value = ((code - low + 1) * total - 1) // (high - low + 1)
    return bisect_right(list(accumulate(table)), value)


class Encoder:
    """Write symbols into a list of bits: `push` each, then `finish` once."""

    def __init__(self) -> None:
        self.low, self.high, self.pending, self.bits = 0, TOP - 1, 0, []

    def push(self, table: Sequence[int], symbol: int) -> None:
        """Write a symbol. Raises `ValueError` for one that has 0 in its table, or a table that is too large."""
        total, size = sum(table), table[symbol]
        if size < 1 or total > 2**MOST_BITS:
            raise ValueError(f"symbol {symbol} has {size} of {total} in its table: it cannot be written")
        self.low, self.high = narrow(self.low, self.high, sum(table[:symbol]), size, total)
        while True:
            if self.high < HALF or self.low >= HALF:  # both ends begin with the same bit
                self._write(int(self.low >= HALF))
                down = HALF if self.low >= HALF else 0
            elif self.low >= QUARTER and self.high < HALF + QUARTER:  # around the middle: the bit is decided later
                self.pending, down = self.pending + 1, QUARTER
            else:
                return
            self.low, self.high = 2 * (self.low - down), 2 * (self.high - down) + 1

    def finish(self) -> list[int]:
        """Write what tells the last range from its neighbours, and return all bits."""
        self.pending += 1
        self._write(int(self.low >= QUARTER))
        return self.bits

    def _write(self, bit: int) -> None:
        self.bits += [bit, *[1 - bit] * self.pending]
        self.pending = 0


class Decoder:
    """Read symbols from the bits of an `Encoder`; it is asked with the tables that the encoder was given."""

    def __init__(self, bits: Iterable[int]):
        self.bits, self.low, self.high, self.code = iter(bits), 0, TOP - 1, 0
        for _ in range(32):
            self._shift(0)

    def pop(self, table: Sequence[int]) -> int:
        """Read a symbol. Nothing says that a table is another one than the writer's: the symbol is then any."""
        symbol = find(self.code, self.low, self.high, table)
        self.low, self.high = narrow(self.low, self.high, sum(table[:symbol]), table[symbol], sum(table))
        while True:
            if self.high < HALF or self.low >= HALF:
                down = HALF if self.low >= HALF else 0
            elif self.low >= QUARTER and self.high < HALF + QUARTER:
                down = QUARTER
            else:
                return symbol
            self.low, self.high = 2 * (self.low - down), 2 * (self.high - down) + 1
            self._shift(down)

    def _shift(self, down: int) -> None:
        self.code = 2 * (self.code - down) + next(self.bits, 0)  # after the end there are zeros


def to_bytes(bits: Sequence[int]) -> bytes:
    """Pack bits into bytes, the first bit highest; the last byte is filled with zeros, which a decoder reads anyway."""
    filled = [*bits, *[0] * (-len(bits) % 8)]
    return bytes(int("".join(map(str, filled[i : i + 8])), 2) for i in range(0, len(filled), 8))


def to_bits(data: bytes) -> list[int]:
    """Unpack the bits of bytes.

    >>> to_bits(to_bytes([1, 0, 1]))
    [1, 0, 1, 0, 0, 0, 0, 0]
    """
    return [byte >> i & 1 for byte in data for i in range(7, -1, -1)]


def cost(f: Tensor, symbols: Tensor) -> Tensor:
    """Say how many bits symbols take with their tables of whole numbers, without the ends of streams.

    Shapes: f (..., V) int64, symbols (...) -> (...) float64.
    """
    return (f.sum(-1).double() / f.gather(-1, symbols[..., None])[..., 0]).log2()


def pays_after(model_bytes: float, ours: float, theirs: float) -> float:
    """Say after how many texts a codec that brings its model is smaller: model_bytes + N ours = N theirs.

    `ours`, `theirs`: bytes a text. Infinity where ours are no fewer: no number of texts pays for it.

    >>> pays_after(1000, 5, 30), pays_after(1000, 5, 5)
    (40.0, inf)
    """
    return model_bytes / (theirs - ours) if theirs > ours else math.inf
