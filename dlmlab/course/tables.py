"""Fill the tables of README from what `bench` and `speedrun` stored: a page and its data cannot drift apart.

<!--table:decode-->
(a fenced block, written by `render`)
<!--/table-->
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path

from dlmlab import paths
from dlmlab.study import bench, speedrun

SPAN = re.compile(r"<!--table:(?P<name>\w+)-->\n.*?<!--/table-->", re.DOTALL)


def sources() -> dict[str, Callable[[], str]]:
    """Name the tables there are: every section of the benchmark, and the leaderboard."""
    sections = bench.read()

    def section(name: str) -> str:
        missing = f"{name}: not measured on this machine yet (python -m dlmlab bench --only {name})"
        return bench.table(name, sections[name]) if name in sections else missing

    found = {name: functools.partial(section, name) for name in bench.SECTIONS}
    return found | {"speedrun": lambda: speedrun.table(speedrun.read())}


def render(markdown: str, tables: dict[str, Callable[[], str]] | None = None) -> str:
    """Fill every span `<!--table:NAME-->…<!--/table-->`. Raises `ValueError` for an unknown name."""
    tables = sources() if tables is None else tables

    def fill(span: re.Match) -> str:
        name = span["name"]
        if name not in tables:
            raise ValueError(f"table {name!r} is unknown; known: {', '.join(sorted(tables))}")
        return f"<!--table:{name}-->\n```\n{tables[name]().rstrip()}\n```\n<!--/table-->"

    return SPAN.sub(fill, markdown)


def write(readme: Path | None = None) -> None:
    """Rewrite the tables of README in place. Raises `ValueError` outside a checkout."""
    readme = paths.to_write(readme or paths.checkout() / "README.md")
    readme.write_text(render(readme.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
