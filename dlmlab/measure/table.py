"""A stored table: which settings it has, how each is measured, and the slice of it that is repeated live.

Decisions
* A table is a promise: every setting has its row, and the code still gives these rows. `rows` refuses a table that
  lacks one; `repeat` measures a few settings again, at a size that a test can afford, and says how far they are off.
* Numbers are compared problem by problem, and only the first ones: a mean over other problems is another number.
* Never exactly: another processor rounds otherwise, and a tie may fall the other way. Digits (right or wrong, one a
  problem) may differ for one problem in ten; real numbers by a tolerance that each table states, narrower than what it
  is quoted for. Whole numbers without a tolerance, names and plans have to be equal.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlmlab.measure import store
from dlmlab.measure.store import Say

Tolerance = tuple[float, float]  # absolute, and as a share of the stored number
FLIPS = 0.1  # share of problems that may be judged otherwise


@dataclass(frozen=True)
class Table:
    """A table under `data/results`.

    `settings()` lists the key of every row, in the order of measuring. `run(**key, size=None)` measures the rest of the
    row; given a `size`, of the first so many problems (or steps), and may leave out what is a number of the whole.
    `live`: keys that are repeated at this `size`. `tolerance`: by column, else 2 %. `flips`: share of problems that may
    be judged otherwise. `headlines(rows)`: numbers that pages quote. `missing()`: what a measurement needs and does not
    find here, in one sentence; "" when all is there.
    """

    name: str
    settings: Callable[[], Iterable[dict]]
    run: Callable[..., dict]
    live: Sequence[dict]
    size: int | None = None
    tolerance: dict[str, Tolerance] = field(default_factory=dict)
    flips: float = FLIPS
    headlines: Callable[[list[dict]], dict[str, float | str]] = lambda rows: {}
    missing: Callable[[], str] = lambda: ""

    def rows(self) -> list[dict]:
        """Read the table. Raises `ValueError` when it is missing, or lacks a setting, or holds one twice or unasked."""
        rows, wanted = store.read(self.name), list(self.settings())
        for key in wanted:
            found = sum(all(k in row and row[k] == v for k, v in key.items()) for row in rows)
            if found != 1:
                raise ValueError(f"{self.name} holds {found} rows with {key}: `python -m dlmlab measure {self.name}`")
        if len(rows) != len(wanted):
            raise ValueError(f"{self.name} has {len(rows)} rows for {len(wanted)} settings: some are of older code")
        return rows

    def measure(self, say: Say = print, path: Path | None = None) -> None:
        """Measure what the file lacks, row by row; an interrupted measurement goes on where it stopped."""
        jobs = ((key, lambda key=key: self.run(**key)) for key in self.settings())
        store.fill(path or store.RESULTS / f"{self.name}.json", jobs, say)

    def repeat(self, key: dict) -> float:
        """Measure one setting again and give its distance to the stored row, in units of the tolerance: 1 is the limit.

        Raises `ValueError` when the table does not hold the setting.
        """
        (row,) = store.select(store.read(self.name), **key)
        again = json.loads(json.dumps(self.run(**key, size=self.size)))  # tuples become lists, as in the file
        if not again.keys() & row.keys():
            raise ValueError(f"{self.name}: repeating {key} measures no column of the table")
        return max(
            distance(
                row[column], self._real(column, again[column]), self.tolerance.get(column, (0.0, 0.02)), self.flips
            )
            for column in again
        )

    def _real(self, column: str, value: object) -> object:
        """Make a whole number a real one where the table states a tolerance: bytes, say, of codes that round."""
        return float(value) if column in self.tolerance and type(value) is int else value

    def repeats(self, key: dict, say: Say = print) -> bool:
        """Say whether the code still gives the stored row of one setting, and by how much; or what is missing for that,
        which is no fault of the row."""
        if reason := self.missing():
            say(f"{self.name} {store.describe(key)}: not repeated, {reason}")
            return True
        off = self.repeat(key)
        word = "as stored" if off <= 1 else "NOT as stored"
        say(f"{self.name} {store.describe(key)}: {word} ({off:.2f} of what is allowed)")
        return off <= 1


def distance(stored: object, again: object, tolerance: Tolerance = (0.0, 0.02), flips: float = FLIPS) -> float:
    """Compare a value with a repeated one, which may cover only the first problems, in units of what is allowed.

    >>> distance([1.0, 5.0, 2.0], [1.0, 5.05], tolerance=(0.1, 0.0)) <= 1  # the third is not repeated
    True
    >>> distance("1101", "1100")  # one problem in four, of one in ten
    2.5
    """
    if isinstance(again, dict):
        return max(distance(stored[k], v, tolerance, flips) for k, v in again.items())
    if isinstance(again, list) and not all(isinstance(value, str) for value in again):
        return max(distance(a, b, tolerance, flips) for a, b in zip(stored, again, strict=False))
    if isinstance(again, list) or (isinstance(again, str) and again.isdigit()):  # texts or digits, one a problem
        pairs = list(zip(stored, again, strict=False))
        return sum(a != b for a, b in pairs) / len(pairs) / flips
    if isinstance(again, float) and stored != again:
        allowed = tolerance[0] + tolerance[1] * abs(stored)
        return 0.0 if math.isnan(stored) and math.isnan(again) else _ratio(abs(stored - again), allowed)
    return 0.0 if stored == again else math.inf


def _ratio(gap: float, allowed: float) -> float:
    return gap / allowed if allowed and gap == gap else math.inf  # nan against a number is no agreement
