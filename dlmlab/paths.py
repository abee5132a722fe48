"""Where the course lies: `data/` at the top of a checkout, inside the package when pip has installed a copy of it.

No other module asks where it is. An installed copy reads everything and writes nothing there: what is written into
site-packages is lost with the next install, and nobody would find it.
"""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
INSTALLED = (PACKAGE / "data").is_dir()  # setup.py puts it there in a wheel
DATA = PACKAGE / "data" if INSTALLED else PACKAGE.parent / "data"
COURSE_NOTEBOOK = re.compile(r"\d\d_[a-z0-9_]+\.ipynb")


def checkout() -> Path:
    """Return the root of the checkout. Raises `ValueError` when this package is an installed copy."""
    if INSTALLED:
        raise ValueError(f"this needs a checkout of the course (git clone), and {PACKAGE} is an installed copy of it")
    return PACKAGE.parent


def to_write(path: Path) -> Path:
    """Return a file or folder that is going to be written; called before the work whose result it will hold.

    Raises `ValueError` for data of an installed copy, and for a place that this user may not write.
    """
    if path.is_relative_to(DATA):
        checkout()
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not os.access(there, os.W_OK):
        raise ValueError(f"{path} cannot be written: {there} is read-only for this user")
    return path


def notebooks(root: Path) -> list[Path]:
    """List the notebooks of the course, by number; `Untitled.ipynb` and `01_sampling-Copy1.ipynb` are the learner's."""
    return sorted(p for p in (root / "notebooks").glob("*.ipynb") if COURSE_NOTEBOOK.fullmatch(p.name))


def give_matplotlib_a_folder() -> None:
    """Let matplotlib keep its files in a temporary folder when there is no home folder to write to.

    It would choose one itself, but say so on stderr: in a notebook, that is an output nobody asked for.
    """
    if not os.access(os.path.expanduser("~"), os.W_OK) and "MPLCONFIGDIR" not in os.environ:
        os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="matplotlib-")
        atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
