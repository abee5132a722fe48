"""Stored tables: one JSON object a line under `data/results`; how they are filled row by row, and how a repeated run
is compared with them."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dlmlab.paths import DATA, to_write

RESULTS = DATA / "results"
Say = Callable[[str], None]


def read(table: str | Path) -> list[dict]:
    """Read the rows of a table, given its name ("01_sampling") or its path; a missing file has no rows."""
    path = table if isinstance(table, Path) else RESULTS / f"{table}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def write(path: Path, rows: Sequence[dict]) -> None:
    """Write the rows, one a line, so that a diff shows which row changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n", encoding="utf-8", newline="\n")


def fill(path: Path, jobs: Iterable[tuple[dict, Callable[[], dict]]], say: Say) -> None:
    """Run what the table does not hold yet: each job is its key (a dictionary) and a function that measures the rest.

    The table is written after every row, so an interrupted measurement goes on where it stopped.
    """
    rows = read(to_write(path))
    for key, measure in jobs:
        if measured(rows, **key):
            continue
        rows.append(key | measure())
        write(path, rows)
        say(describe(rows[-1]))


def describe(row: dict) -> str:
    """Write a row in one line; the answers of single problems become their count.

    >>> describe({"method": "a", "nfe": 3.14159, "correct": "1101"})
    'method=a nfe=3.142 correct=3/4'
    """
    parts = []
    for name, value in row.items():
        if name == "correct":
            parts.append(f"correct={value.count('1')}/{len(value)}")
        elif not isinstance(value, list):
            parts.append(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}")
    return " ".join(parts)


def select(rows: Sequence[dict], **key) -> list[dict]:
    """Find the rows of a table whose columns have these values. Raises `ValueError` when there is none."""
    found = [row for row in rows if all(row.get(k) == v for k, v in key.items())]
    if not found:
        raise ValueError(f"no row with {key}")
    return found


def measured(rows: Sequence[dict], **key) -> bool:
    """Say whether a table holds a row with these values: a notebook shows what has been measured."""
    return any(all(row.get(k) == v for k, v in key.items()) for row in rows)


def agreement(row: dict, again: dict) -> float:
    """Share of problems on which a repeated run (of the first problems) judges as the stored one."""
    pairs = list(zip(row["correct"], again["correct"], strict=False))
    return sum(a == b for a, b in pairs) / len(pairs)
