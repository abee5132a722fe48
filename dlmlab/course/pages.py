"""Fill in what README, `teaching/` and Markdown cells quote, so that a page and its data cannot drift apart.

    <!--ledger:ID:FORMAT-->93%<!--/-->          what a notebook measures live (`dlmlab.course.ledger`)
    <!--stored:TABLE:NAME:FORMAT-->93%<!--/-->  a headline of a stored table (`Table.headlines`), a number or a word
    <!--table:NAME-->                           a fenced block: a section of the benchmark, the leaderboard, the load
    <!--/table-->
    <!--contents:NAME-->4.1 to 4.5<!--/-->      what the notebooks and the package hold (`dlmlab.course.contents`)
    <!--teaching:NAME-->                        a table about exercises and mistakes (`dlmlab.course.teaching`)
    <!--/teaching-->

The comments do not show on the page. `python -m dlmlab pages` and `refresh` fill them in; a test compares.
"""

import difflib
import functools
import re
from collections.abc import Callable
from pathlib import Path

from dlmlab import paths
from dlmlab.course import contents, kernels, ledger, teaching
from dlmlab.measure import store
from dlmlab.network.checkpoint import shipped
from dlmlab.study import TABLES, bench, nb00_models, speedrun, table

NUMBER = re.compile(r"<!--(?P<source>ledger|stored):(?P<id>[^\n]*?):(?P<format>[^:\n]*?)-->(?P<value>[^\n]*?)<!--/-->")
TEXT = re.compile(r"<!--contents:(?P<name>[\w:]+)-->[^\n]*?<!--/-->")
BLOCK = re.compile(r"<!--table:(?P<name>\w+)-->\n.*?<!--/table-->", re.DOTALL)
LESSON = re.compile(r"<!--teaching:(?P<name>[\w:]+)-->\n.*?<!--/teaching-->", re.DOTALL)
Headlines = dict[str, Callable[[], dict[str, float | str]]]
Blocks = dict[str, Callable[[], str]]


def render(
    markdown: str, *, entries: dict | None = None, stored: Headlines | None = None, blocks: Blocks | None = None
) -> str:
    """Fill every span. `entries` of the ledger, headlines of `stored` tables and `blocks`: else those of the course.

    Raises `ValueError` for what is not there.

    >>> render("<!--ledger:a:.0%-->?<!--/-->", entries={"a": {"value": 0.93}})
    '<!--ledger:a:.0%-->93%<!--/-->'
    """
    stored = headlines() if stored is None else stored
    read = functools.cache(lambda name: stored[name]())

    def value(source: str, id: str) -> float | str:
        if source == "ledger":
            return ledger.find(id, entries)["value"]
        name, _, line = id.partition(":")
        if name not in stored:
            raise ValueError(f"stored table {name!r} is unknown; known: {', '.join(stored)}")
        if line not in read(name):
            near = difflib.get_close_matches(line, read(name), n=3) or [*read(name)]
            raise ValueError(f"{name} has no headline {line!r}; it has {', '.join(map(repr, near)) or 'none'}")
        return read(name)[line]

    def number(span: re.Match) -> str:
        head = f"{span['source']}:{span['id']}:{span['format']}"
        return f"<!--{head}-->{format(value(span['source'], span['id']), span['format'])}<!--/-->"

    def block(span: re.Match) -> str:
        known = every_block() if blocks is None else blocks
        if span["name"] not in known:
            raise ValueError(f"table {span['name']!r} is unknown; known: {', '.join(sorted(known))}")
        return f"<!--table:{span['name']}-->\n```\n{known[span['name']]().rstrip()}\n```\n<!--/table-->"

    def text(span: re.Match) -> str:
        known = contents.facts()
        if span["name"] not in known:
            raise ValueError(f"contents {span['name']!r} are unknown; known: {', '.join(known)}")
        return f"<!--contents:{span['name']}-->{known[span['name']]}<!--/-->"

    def lesson(span: re.Match) -> str:
        known = teaching.blocks()
        if span["name"] not in known:
            raise ValueError(f"teaching {span['name']!r} is unknown; known: {', '.join(known)}")
        return f"<!--teaching:{span['name']}-->\n{known[span['name']]()}\n<!--/teaching-->"

    return LESSON.sub(lesson, TEXT.sub(text, BLOCK.sub(block, NUMBER.sub(number, markdown))))


def headlines() -> Headlines:
    """Name what can be quoted of stored tables, of the leaderboard, and of the evaluation of the shipped models."""
    found = {name: functools.partial(_headlines, name) for name in TABLES}
    return found | {"speedrun": lambda: speedrun.headlines(speedrun.read()), "evaluation": _evaluations}


def _headlines(name: str) -> dict[str, float | str]:
    return table(name).headlines(table(name).rows())


def _evaluations() -> dict[str, float]:
    """Give the exact match of each shipped model on the whole test split, which `evaluate --json` stored."""
    whole = {name: store.load(paths.DATA / name / "evaluation.json", None) for name in shipped()}
    return {name: found["hits"] / found["n"] for name, found in whole.items()}


def every_block() -> Blocks:
    """Name the tables there are: the models, every section of the benchmark, the leaderboard, the load of kernels."""
    sections = bench.read()

    def section(name: str) -> str:
        missing = f"{name}: not measured on this machine yet (python -m dlmlab bench --only {name})"
        return bench.table(name, sections[name]) if name in sections else missing

    found = {name: functools.partial(section, name) for name in bench.SECTIONS}
    return found | {
        "models": lambda: nb00_models.lines(nb00_models.TABLE.rows()),
        "speedrun": lambda: speedrun.table(speedrun.read()),
        "load": lambda: kernels.table(kernels.read()),
    }


def files(root: Path) -> list[Path]:
    """List the pages of a checkout that quote: README and what `teaching/` holds."""
    return [path for path in (root / "README.md", *sorted((root / "teaching").rglob("*.md"))) if path.exists()]


def write(root: Path | None = None, *, entries: dict | None = None) -> None:
    """Fill in every page of a checkout in place. Raises `ValueError` outside one."""
    stored = {name: functools.cache(read) for name, read in headlines().items()}  # a table is read once for all pages
    for page in files(root or paths.checkout()):
        text = render(paths.to_write(page).read_text(encoding="utf-8"), entries=entries, stored=stored)
        store.replace(page, text)
