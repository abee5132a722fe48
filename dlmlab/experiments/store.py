"""Stored tables: one JSON object a line under `data/results`, and how a repeated run is compared with them."""

import json
from collections.abc import Sequence
from pathlib import Path

from dlmlab.checkpoint import DATA

RESULTS = DATA / "results"


def read(table: str | Path) -> list[dict]:
    """Read the rows of a table, given its name ("01_sampling") or its path; a missing file has no rows."""
    path = table if isinstance(table, Path) else RESULTS / f"{table}.json"
    return json.loads(path.read_text()) if path.exists() else []


def write(path: Path, rows: Sequence[dict]) -> None:
    """Write the rows, one a line, so that a diff shows which row changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")


def agreement(row: dict, again: dict) -> float:
    """Share of problems on which a repeated run (of the first problems) judges as the stored one."""
    pairs = list(zip(row["correct"], again["correct"], strict=False))
    return sum(a == b for a, b in pairs) / len(pairs)
