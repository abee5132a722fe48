"""`python -m dlmlab bench`: what costs time here, and how much of it, as ratios measured in turn.

Decisions
* Two durations are compared only when they were measured in the same round of the same process; a table shows medians
  and quartiles of these ratios, never seconds. Rates (GFLOP/s, tokens/s) stay in `data/bench.json`.
* A section belongs to the machine that measured it, and its heading names that machine. Two sections may be of two
  machines, so nothing is compared across sections.
* One module a question: `machine`, `exact`, `decode`, `peers`, `growth`, `precision`, `smaller`, `train`. Each runs
  alone (`--only decode`), and a finished section is not run again on the same machine (`--again` does).
* Threads are fixed and stated. Nothing else should run: the first line says how busy the machine is.
"""

import importlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dlmlab.measure import hardware, store
from dlmlab.paths import DATA, to_write

PATH = DATA / "bench.json"
SECTIONS = ("machine", "exact", "decode", "peers", "growth", "precision", "smaller", "train")
ROUNDS = 7


def run(
    only: Sequence[str] | None = None,
    *,
    quick: bool = False,
    again: bool = False,
    path: Path = PATH,
    say: Callable[[str], None] = print,
) -> dict:
    """Run the sections that are missing, store each when it is done, and print all tables.

    `quick` measures a few problems in three rounds and stores nothing. Raises `ValueError` for an unknown section.
    """
    only = list(only or SECTIONS)
    if unknown := [name for name in only if name not in SECTIONS]:
        raise ValueError(f"section {', '.join(unknown)} is unknown; known: {', '.join(SECTIONS)}")
    if not quick:
        to_write(path)
    here = hardware.fingerprint()
    stored = {"sections": {}} if quick else store.load(path, {"sections": {}})
    stored["sections"] = {name: kept for name, kept in stored["sections"].items() if name in SECTIONS}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    say(f"{here['processor']}, {here['threads']} threads, load {load:.1f} before the start")
    for name in only:
        if again or stored["sections"].get(name, {}).get("machine") != here:
            start = time.perf_counter()
            section = importlib.import_module(f"{__name__}.{name}")
            result = section.measure(quick=quick, say=say)
            seconds = time.perf_counter() - start
            about = {"machine": here, "seconds": round(seconds, 1), "load_before": round(load, 2)}
            stored["sections"][name] = about | result
            if not quick:
                store.save(path, stored, indent=1)
        say("")
        say(table(name, stored["sections"][name]))
    return stored


def table(name: str, section: dict) -> str:
    """Lay out a stored section as text."""
    machine = section["machine"]
    where = f"{machine['processor']}, {machine['capability']}, {machine['threads']} threads"
    heading = f"{name} ({section['seconds'] / 60:.1f} minutes on {where})"
    return "\n".join([heading, *importlib.import_module(f"{__name__}.{name}").lines(section)])


def read(path: Path = PATH) -> dict:
    """Read the stored sections by name, empty when nothing has been measured."""
    return store.load(path, {"sections": {}})["sections"]
