"""Exercise 15.2. Every code of small ranges; ranges that begin at 0 and elsewhere; symbols of 0; the full 32 bits."""

from collections.abc import Callable
from numbers import Integral

from dlmlab.course.checks.expect import NOTHING, Cases, require
from dlmlab.course.exercises import Exercise


def check_find(fn: Callable) -> None:
    """Judge an answer to 15.2."""

    def run(code: int, low: int, high: int, table: list[int]) -> int:
        symbol = fn(code, low, high, list(table))
        require(symbol is not None, NOTHING)
        require(
            isinstance(symbol, Integral) and not isinstance(symbol, bool),
            f"the result is a {type(symbol).__name__}, it should be an int, the id of a symbol",
        )
        return int(symbol)

    def expect(low: int, high: int, table: list[int], why: str) -> None:
        for v, (first, last) in enumerate(_parts(low, high, table)):
            for code in {first, last, (first + last) // 2} if first <= last else ():
                found = run(code, low, high, table)
                require(found == v, f"{why}: code {code} of {low}..{high}, table {table} is symbol {v}, not {found}")

    expect(0, 7, [4, 2, 2], "a range that the table divides evenly")
    expect(100, 107, [4, 2, 2], "the range begins at `low`, not at 0")
    expect(0, 9, [2, 1, 1], "a part that begins between two codes begins at the floor")
    expect(0, 7, [0, 4, 0, 4, 0], "a symbol of 0 has no part, and is never found")
    expect(0, 99, [1, 1, 1], "the sum of the table is not a power of 2, nor the size of the range")
    top = (1 << 32) - 1
    expect(3, top, [2**29, 1, 2**29 - 1], "floats have too few digits for 32 bits: whole numbers only")
    expect(2**31 - 2**29, 2**31 + 2**29 + 5, [1] * 300 + [2**30 - 301], "floats have too few digits")
    draw = Cases(152)
    for _ in range(60):
        V = draw.int(1, 9)
        table = [draw.int(0, 6) * draw.int(0, 1) for _ in range(V)]
        table[draw.int(0, V - 1)] += 1
        low = draw.int(0, 1000)
        high = low + sum(table) * draw.int(4, 40) + draw.int(0, 5)
        expect(low, high, table, "random ranges, both ends of every part")
        at = draw.int(low, high)
        require(_parts(low, high, table)[run(at, low, high, table)][0] <= at, f"code {at} lies before its part")


def _parts(low: int, high: int, table: list[int]) -> list[tuple[int, int]]:
    span, total, before, found = high - low + 1, sum(table), 0, []
    for size in table:
        found.append((low + span * before // total, low + span * (before + size) // total - 1))
        before += size
    return found


EXERCISE = Exercise(
    id="15.2",
    title="The step of a reader",
    minutes=15,
    difficulty=3,
    objective="Invert the step of an arithmetic coder on whole numbers.",
    path="dlmlab.coding.find",
    stub='''\
def find(code: int, low: int, high: int, table: list[int]) -> int:
    """Say which symbol of a table has the part of the range low..high (both included) in which `code` lies.

    Symbol v keeps low + span S(v) // total .. low + span S(v + 1) // total - 1, where S(v) is the sum of the table
    before v, total the sum of all of it, and span = high - low + 1. A symbol of 0 keeps nothing. Whole numbers only.
    """
    raise NotImplementedError
''',
    hints=(
        "A loop will do: go through the symbols and stop at the part in which the code lies. How many codes has the "
        "range, if both ends are included?",
        "Compare the code with the first code of the *next* symbol's part: the first for which that is larger is the "
        "one. Divide whole numbers only, as the writer does.",
        "seen = 0; for v, size in enumerate(table): seen += size; "
        "if size and code < low + (high - low + 1) * seen // sum(table): return v",
    ),
    check=check_find,
)
