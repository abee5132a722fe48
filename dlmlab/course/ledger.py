"""The ledger: every number that a notebook measures live, with its tolerance.

Decisions
* A notebook measures a number and hands it to `record`. The number on the page and the number in `data/ledger.json`
  cannot drift apart silently: a run compares, and only `python -m dlmlab refresh` writes.
* Exact quantities (NFE, tokens, bytes, FLOPs) get a tolerance below one unit. Accuracies get a few standard errors,
  because another CPU may flip a token. Wall-clock ratios get `bound=">1.0"` in place of the tolerance: an inequality
  that holds on any machine.
* A number of a stored table is none of the ledger's: pages quote it from the table (`dlmlab.course.pages`), and the
  table's live slice says whether it still holds.

Environment: DLMLAB_REFRESH=1 writes instead of comparing; DLMLAB_STRICT_LEDGER=1 makes a deviation an error;
DLMLAB_LEDGER names another file; DLMLAB_NOTEBOOK is the notebook being executed (`refresh` sets it).
"""

import difflib
import math
import operator
import os
import re
from pathlib import Path

from dlmlab.measure import store
from dlmlab.measure.evaluate import Proportion
from dlmlab.paths import DATA, to_write

ID = re.compile(r"[\w.\-]+")
BOUND = re.compile(r"\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*")
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class LedgerError(ValueError):
    """A number is unknown to the ledger or disagrees with it."""


def ledger_path() -> Path:
    """Give the path of the ledger file: DLMLAB_LEDGER, else `data/ledger.json` of the course."""
    return Path(os.environ.get("DLMLAB_LEDGER") or DATA / "ledger.json")


def load(path: Path | None = None) -> dict[str, dict]:
    """Read the ledger as `{id: {"value", "tol", "note", "notebook", "bound"}}`; a missing file is an empty ledger."""
    return store.load(path or ledger_path(), {})


def save(entries: dict[str, dict], path: Path | None = None) -> None:
    """Write the ledger in one step, sorted by id, so that a killed process leaves the old file or the new one."""
    store.save(to_write(path or ledger_path()), entries, indent=2, sort_keys=True)


def record(id: str, value: float, *, tol: float, note: str = "", bound: str | None = None) -> float:
    """Check a measured number against the ledger and return the stored one, or write it there during a refresh.

    A number passes when |value - stored| <= tol, or, with `bound` such as ">=0.9", when that inequality holds.
    Otherwise a strict run (DLMLAB_STRICT_LEDGER=1) raises `LedgerError` and a learner's run prints one line.
    `tol` is in the unit of `value`; `note` says what was measured, with unit and sample size.

    Raises: `ValueError` for a malformed id, a value that is not finite or a tolerance that is not positive;
    `LedgerError` for an id that no refresh has written.
    """
    value = _checked(id, value, tol)
    if _on("DLMLAB_REFRESH"):
        _write(id, value, tol, note, bound)
        return value
    problem = _compare(id, value, tol, bound)
    if problem and _on("DLMLAB_STRICT_LEDGER"):
        raise LedgerError(problem)
    if problem:
        print(f"Not as in the ledger: {problem}")
    return value if problem or bound else load()[id]["value"]


def share(id: str, measured: Proportion, *, tol: float) -> Proportion:
    """Check a share against the ledger (`record`) and return the one that stands there.

    On another processor a few answers may differ; what a page prints should not. Raises as `record` does.
    """
    value = record(id, measured.value, tol=tol, note=f"share of {measured.n}")
    return Proportion(round(value * measured.n), measured.n)


def key(*parts: object) -> str:
    """Make an id of any texts: what an id may not hold becomes `_`.

    >>> key("01.rules", "fixed, 8", "Fixed(steps=8)")
    '01.rules.fixed_8.Fixed_steps_8'
    """
    return ".".join(re.sub(r"[^\w.\-]+", "_", str(part)).strip("_") for part in parts)


def find(id: str, entries: dict[str, dict] | None = None) -> dict:
    """Look up one entry. Raises `LedgerError` that lists near ids."""
    entries = load() if entries is None else entries
    if id not in entries:
        raise LedgerError(_unknown(id, entries))
    return entries[id]


def _on(variable: str) -> bool:
    return os.environ.get(variable, "") == "1"


def _checked(id: str, value: float, tol: float) -> float:
    value, tol = float(value), float(tol)
    if not ID.fullmatch(id):
        raise ValueError(f"ledger id {id!r} may hold only letters, digits, '_', '-' and '.'")
    if not math.isfinite(value):
        raise ValueError(f"{id} = {value} is not a finite number")
    if not 0 < tol < math.inf:
        raise ValueError(f"the tolerance of {id} must be finite and above 0, got {tol}")
    return value


def _violates(bound: str, value: float) -> bool:
    match = BOUND.fullmatch(bound)
    if not match:
        raise ValueError(f"bound {bound!r} must look like '>=0.9', with one of <, <=, >, >=")
    return not COMPARE[match[1]](value, float(match[2]))


def _write(id: str, value: float, tol: float, note: str, bound: str | None) -> None:
    if bound is not None and _violates(bound, value):
        raise LedgerError(f"{id}: measured {value:.6g} breaks its own bound {bound}")
    # Ten digits of a fraction, so that the file does not change with the last bits of a sum; counts stay exact.
    stored = value if value.is_integer() else float(f"{value:.10g}")
    entry = {"value": stored, "tol": float(tol), "note": note, "notebook": os.environ.get("DLMLAB_NOTEBOOK", "")}
    save(load() | {id: entry | ({"bound": bound} if bound else {})})


def _compare(id: str, value: float, tol: float, bound: str | None) -> str:
    entry = find(id)
    if bound is not None:
        return f"{id}: measured {value:.6g}, which must be {bound}" if _violates(bound, value) else ""
    stored = entry["value"]
    if abs(value - stored) <= tol:
        return ""
    return f"{id}: measured {value:.6g}, stored {stored:.6g}, tolerance {tol:g}"


def _unknown(id: str, entries: dict[str, dict]) -> str:
    near = difflib.get_close_matches(id, entries, n=3)
    hint = f"near: {', '.join(near)}" if near else f"{len(entries)} entries, none with a similar name"
    return f"{id} is not in the ledger ({hint}); `python -m dlmlab refresh` adds what the notebooks measure"
