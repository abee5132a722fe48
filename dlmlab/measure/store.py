"""JSON on disk: stored tables, one row a line under `data/results`, and how they are filled row by row.

Reading one needs no torch: a page that shows a table should not wait for the package that made it.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dlmlab.paths import DATA, to_write

RESULTS = DATA / "results"
Say = Callable[[str], None]


def load(path: Path, default: object) -> object:
    """Read a JSON file; a missing one is `default`."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def replace(path: Path, text: str) -> None:
    """Write a file in one step, so that a killed process leaves the old one or the new one; the same text, nothing."""
    if path.exists() and path.read_bytes() == text.encode():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    os.replace(temporary, path)


def save(path: Path, value: object, **style) -> None:
    """Write a JSON file in one step; `style` as in `json.dumps`."""
    replace(path, json.dumps(value, ensure_ascii=False, **style) + "\n")


def read(table: str | Path) -> list[dict]:
    """Read the rows of a table, given its name ("01_sampling") or its path; a missing file has no rows."""
    return load(table if isinstance(table, Path) else RESULTS / f"{table}.json", [])


def write(path: Path, rows: Sequence[dict]) -> None:
    """Write the rows, one a line, so that a diff shows which row changed."""
    replace(path, "[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")


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
        if name in ("correct", "clean"):
            parts.append(f"{name}={value.count('1')}/{len(value)}")
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
