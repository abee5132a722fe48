"""Settings of every test run. At the root, so that `pytest notebooks` sees them as well as `pytest tests`.

The variables are set before anything imports torch, and every notebook kernel inherits them.
"""

import os
import tempfile
from pathlib import Path

from dlmlab.paths import COURSE_NOTEBOOK

if not os.access(os.path.expanduser("~"), os.W_OK):
    os.environ["HOME"] = tempfile.mkdtemp(prefix="home-")  # Jupyter's kernels do not start without one
os.environ.setdefault("OMP_NUM_THREADS", "2")  # the stored outputs were made with two threads
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a forgotten hub id fails at once instead of retrying for a minute
os.environ.setdefault("DLMLAB_STRICT_LEDGER", "1")  # a result off its ledger entry is an error, not a remark
os.environ.setdefault("DLMLAB_STRICT_EXERCISES", "1")  # a notebook shows a result of every exercise
for name in ("DLMLAB_REFRESH", "DLMLAB_LEDGER", "DLMLAB_NOTEBOOK"):
    os.environ.pop(name, None)  # a test run only compares with the committed ledger, it never writes one

pytest_plugins = ("tests.notebooks.budget", "pytester")


def pytest_configure(config):
    # nbval opens this path from the current directory; make it independent of where pytest was started.
    given = config.option.nbval_sanitize_with
    if given and not Path(given).is_absolute():
        config.option.nbval_sanitize_with = str(Path(config.rootpath, given))


def pytest_ignore_collect(collection_path, config):
    # What else lies beside the notebooks of the course is the learner's; it runs when it is named.
    beside = collection_path.parent == Path(config.rootpath, "notebooks")
    return True if beside and not COURSE_NOTEBOOK.fullmatch(collection_path.name) else None
