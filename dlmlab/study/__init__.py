"""Experiments that take longer than a notebook may: `python -m dlmlab measure NAME` stores their tables under
`data/results`.

One module for each table or small family of tables, as `Table` objects (`dlmlab.measure.table`). A notebook reads the
rows (`dl.store.read`), shows them, and repeats the table's live slice, so a stored number that the code no longer gives
is found. A new table is one new `nb*.py`, or `labs/lab*.py`, that makes a `Table("NAME", ...)`: it is found by that
line, unimported.
"""

import importlib
import re

from dlmlab.measure.table import Table
from dlmlab.paths import PACKAGE


def _modules() -> dict[str, str]:
    """Map the name of each table to the module that makes it."""
    made = re.compile(r'\bTable\(\s*"(\w+)"')
    files = sorted([*(PACKAGE / "study").glob("nb*.py"), *(PACKAGE / "study" / "labs").glob("lab*.py")])
    return dict(sorted((name, path.stem) for path in files for name in made.findall(path.read_text(encoding="utf-8"))))


TABLES = _modules()


def table(name: str) -> Table:
    """Return a stored table. Raises `ValueError` listing the known names."""
    if name not in TABLES:
        raise ValueError(f"table {name!r} is unknown; known: {', '.join(TABLES)}")
    inside = ".labs" if TABLES[name].startswith("lab") else ""
    module = importlib.import_module(f"{__name__}{inside}.{TABLES[name]}")
    (found,) = (value for value in vars(module).values() if isinstance(value, Table) and value.name == name)
    return found
