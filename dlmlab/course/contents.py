"""What each notebook holds, read off the notebooks: its exercises, the modules it introduces. README quotes it.

Decisions
* An exercise or prediction belongs to one notebook, the one whose number it bears: `use` in two would overwrite each
  other's state.
* A module is introduced by the notebook with exercises on it, else by the first whose code calls it. What stores and
  shows (the rooms `study` and `course`, `store`) is introduced by none.
"""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import nbformat

import dlmlab
from dlmlab import paths
from dlmlab.course import predictions
from dlmlab.course.exercises import registry

USE = re.compile(r"\b(?:exercises\.use|predictions\.predict)\(\s*[\"']([\d.]+)[\"']")
CALL = re.compile(r"\bdl\.(\w+)")
APART = ("study", "course")  # rooms that no notebook introduces


def code(notebook: Path) -> str:
    """Join the code cells of a notebook."""
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def misplaced(sources: dict[str, str], ids: list[str]) -> list[str]:
    """List what is wrong with where exercises stand: `sources` maps the number of a notebook to its code."""
    found = {number: USE.findall(source) for number, source in sources.items()}
    count = Counter(id for used in found.values() for id in used)
    problems = [f"exercise {id} is used {count[id]} times, must be once" for id in ids if count[id] != 1]
    for number, used in found.items():
        problems += [f"notebook {number} uses exercise {id}, which is unknown" for id in used if id not in ids]
        strangers = [id for id in used if id.split(".")[0].zfill(2) != number]
        problems += [f"notebook {number} uses exercise {id} of another notebook" for id in strangers]
    return problems


def introduced(sources: dict[str, str], taught: dict[str, str]) -> dict[str, list[str]]:
    """Map the number of each notebook to the modules it introduces, in the order of the rooms.

    `taught` maps a module with exercises to the number of their notebook.
    """
    first = {}
    for number, source in sorted(sources.items()):
        for name in CALL.findall(source):
            first.setdefault(dlmlab._NAMES.get(name, name), number)  # dl.Sampler stands in `sampling`
    first |= taught
    rooms = {name: full.split(".")[1] for name, full in dlmlab._MODULES.items() if full.count(".") > 1}
    known = sorted((name for name in first if name in rooms), key=lambda name: dlmlab.ROOMS.index(rooms[name]))
    kept = [name for name in known if rooms[name] not in APART and name != "store"]
    return {number: [name for name in kept if first[name] == number] for number in sorted(sources)}


def lines(*without: str) -> int:
    """Count the lines of the package, without those of some rooms."""
    files = [path for path in paths.PACKAGE.rglob("*.py") if path.relative_to(paths.PACKAGE).parts[0] not in without]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


@cache
def facts(root: Path | None = None) -> dict[str, str]:
    """Say what README quotes, by name: `modules:04`, `exercises:04`, `lines` of the package and of its library part."""
    exercises = list(registry().values())
    taught = {e.path.split(".")[1]: e.notebook for e in reversed(exercises)}  # of two notebooks, the first
    sources = {path.name[:2]: code(path) for path in paths.notebooks(root or paths.checkout())}
    found = {f"modules:{n}": ", ".join(f"`{m}`" for m in names) for n, names in introduced(sources, taught).items()}
    for number in sources:
        asked = (*exercises, *predictions.registry().values())
        ids = sorted(
            (e.id for e in asked if e.notebook == number), key=lambda id: [int(part) for part in id.split(".")]
        )
        found[f"exercises:{number}"] = " to ".join(dict.fromkeys((ids[0], ids[-1]))) if ids else ""
    return found | {"lines": f"{lines():,}", "lines:library": f"{lines(*APART):,}"}
