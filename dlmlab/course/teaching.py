"""What `teaching/` says about exercises and misconceptions, from one list: guides, table and exam quote it.

    <!--teaching:stuck:01-->      a guide's table of mistakes: belief, what the check answers, hint, sentence to say
    <!--teaching:points:01-->     its exercises with minutes and points
    <!--teaching:misconceptions-->  all of them, and where each is checked, hinted at, taught and examined
    <!--teaching:guides-->        the notebooks with their minutes and guides
    <!--teaching:doctor-->        the exit statuses of `python -m dlmlab doctor`
    <!--/teaching-->

Decisions
* `teaching/misconceptions.toml` is the list. An entry names an exercise and a wrong answer of `tests/mutants`; what the
  check answers to it, and the hint, are the course's own. A test holds that both exist.
* A guide has the name of its notebook. A notebook without a guide is a failed test.

Source of the form: misconception catalogues of concept inventories; minute marks as the Carpentries' lessons have them.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat

from dlmlab import paths
from dlmlab.course import doctor, predictions
from dlmlab.course.exercises import registry

PLAN = re.compile(r"^\| *(\d+) *\| *(\d+) *\| *(.+?) *\| *(.+?) *\|$", re.MULTILINE)
SECTIONS = (
    "Before class",
    "50 minutes",
    "90 minutes",
    "Live demo",
    "Discussion",
    "Where people get stuck",
    "Rubric",
)


@dataclass(frozen=True)
class Misconception:
    """A belief that makes a wrong answer.

    `exercise` and `mutant` name the wrong answer, `says` words of what the check prints for it, `hint` the hint that
    helps, `say` a sentence for the teacher, `exam` the item of `teaching/exam.md` that asks for it again.
    """

    exercise: str
    mutant: str
    says: str
    hint: int
    believes: str
    say: str
    exam: str

    @property
    def notebook(self) -> str:
        """Number of the notebook: "1.2" is in "01"."""
        return self.exercise.split(".")[0].zfill(2)


def folder() -> Path:
    """Return `teaching/`. Raises `ValueError` in an installed copy, which has none."""
    return paths.checkout() / "teaching"


@cache
def misconceptions(path: Path | None = None) -> tuple[Misconception, ...]:
    """Read the list, in the order of the exercises. Raises `TypeError` for a missing or unknown key."""
    path = path or folder() / "misconceptions.toml"
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["misconception"]
    found = [Misconception(**entry) for entry in entries]
    return tuple(sorted(found, key=lambda m: [int(part) for part in m.exercise.split(".")]))


def guide(notebook: Path) -> Path:
    """Return where the guide of a notebook is, or has to be written."""
    return folder() / "guides" / f"{notebook.stem}.md"


def plan(guide: str, minutes: int) -> list[tuple[int, int, str, str]]:
    """Read the plan for 50 or 90 minutes out of a guide: (from, to, what, where) in the order of the rows.

    >>> plan("## 50 minutes\\n\\n| 0 | 10 | Talk. | *Recap* |\\n\\n## 90 minutes\\n", 50)
    [(0, 10, 'Talk.', '*Recap*')]
    """
    return [(int(start), int(stop), what, where) for start, stop, what, where in PLAN.findall(section(guide, minutes))]


def section(guide: str, name: str | int) -> str:
    """Cut a section out of a guide; it is "50 minutes" for 50. Raises `ValueError` when there is none."""
    title = f"{name} minutes" if isinstance(name, int) else name
    found = re.search(rf"(?ms)^## {re.escape(title)}[ ]*\n(.*?)(?=^## |\Z)", guide)
    if found is None:
        raise ValueError(f"the guide has no section {title!r}")
    return found[1]


def blocks() -> dict[str, Callable[[], str]]:
    """Name the blocks there are, each as a function that writes it."""
    asked = (*registry().values(), *predictions.registry().values())
    numbers = sorted({e.notebook for e in asked})
    found = {"misconceptions": _every, "guides": _guides, "doctor": _doctor}
    for n in numbers:
        found |= {f"stuck:{n}": lambda n=n: _stuck(n), f"points:{n}": lambda n=n: _points(n)}
    return found


def _table(head: str, rows: list[tuple]) -> str:
    names = head.split(" | ")
    lines = [head, " | ".join("---" for _ in names), *(" | ".join(map(str, row)) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _stuck(number: str) -> str:
    mine = [m for m in misconceptions() if m.notebook == number]
    rows = [(m.exercise, m.believes, f"“… {m.says} …”", f"{m.hint}", m.say) for m in mine]
    return _table("exercise | what they believe | the check says | hint | the sentence to say", rows)


def _points(number: str) -> str:
    mine = [e for e in registry().values() if e.notebook == number]
    rows = [(e.id, e.title, e.kind, e.minutes, e.difficulty) for e in mine]
    rows += [
        (p.id, p.title, "predict", p.minutes, "for a number written down before the run")
        for p in predictions.registry().values()
        if p.notebook == number
    ]
    return _table("exercise | title | kind | minutes | points", sorted(rows, key=lambda row: row[0]))


def _every() -> str:
    guides = {path.name[:2]: path.stem for path in paths.notebooks(paths.checkout())}
    rows = [
        (
            m.believes,
            f"{m.exercise}, “… {m.says} …”",
            f'`hint("{m.exercise}", {m.hint})`',
            f"[{m.notebook}](guides/{guides[m.notebook]}.md#where-people-get-stuck)",
            f"[{m.exam}](exam.md#{m.exam.lower()})",
        )
        for m in misconceptions()
    ]
    return _table("what they believe | check | hint | guide | exam", rows)


def minutes(notebook: Path) -> tuple[int, int]:
    """Read the minutes that a notebook states, to read and for its exercises."""
    cells = nbformat.read(notebook, as_version=4).cells
    stated = re.search(r"(\d+) to read, (\d+) for the exercises?", cells[1].source)
    if stated is None:
        raise ValueError(f"{notebook.name} states no minutes in its second cell")
    return int(stated[1]), int(stated[2])


def _guides() -> str:
    rows = []
    for path in paths.notebooks(paths.checkout()):
        title = nbformat.read(path, as_version=4).cells[0].source.partition("\n")[0].removeprefix("# ")
        asked = [e.id for e in (*registry().values(), *predictions.registry().values()) if e.notebook == path.name[:2]]
        rows.append((f"[{title}](guides/{path.stem}.md)", *minutes(path), len(asked)))
    return _table("guide | minutes to read | for exercises | exercises", rows)


def _doctor() -> str:
    rows = [(code, look.__name__.removeprefix("look_at_"), look.__doc__) for code, look in doctor.LOOKS.items()]
    return _table("exit status | name | what it answers with no", rows)
