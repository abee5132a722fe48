"""pytest plugin: 20 s a cell, 90 s a notebook, or the run fails although every cell is green.

A cell is charged its own execution; the first cell of a notebook pays for importing torch and transformers.
A notebook is charged everything, the start of its kernel included. The budgets hold on two laptop cores; a slower
machine sets DLMLAB_BUDGET_SCALE (default 1): DLMLAB_BUDGET_SCALE=3 allows 60 s a cell and 270 s a notebook. A scale
above 1 stretches nbval's own timeouts, too: a budget that is larger than them would never be reached.
"""

import math
import os
from collections import defaultdict

import pytest

CELL_SECONDS = 20.0
NOTEBOOK_SECONDS = 90.0


def budget_scale(environ=os.environ) -> float:
    """Read DLMLAB_BUDGET_SCALE; raise `pytest.UsageError` unless it is a finite number above 0."""
    text = environ.get("DLMLAB_BUDGET_SCALE", "1")
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 0 < scale < math.inf:
        raise pytest.UsageError(f"DLMLAB_BUDGET_SCALE must be a number above 0, got {text!r}")
    return scale


class Budget:
    """Seconds spent by cell and by notebook, and what exceeds the budgets."""

    def __init__(self, scale: float = 1.0):
        self.cell_limit = CELL_SECONDS * scale
        self.notebook_limit = NOTEBOOK_SECONDS * scale
        self.cells: dict[str, dict[str, float]] = defaultdict(dict)  # notebook -> cell -> seconds of execution
        self.notebooks: dict[str, float] = defaultdict(float)

    def charge(self, nodeid: str, when: str, seconds: float) -> None:
        """Add the seconds of one phase (setup, call, teardown) of one item; items outside notebooks are free."""
        notebook, _, cell = nodeid.partition("::")
        if not notebook.endswith(".ipynb"):
            return
        self.notebooks[notebook] += seconds
        if when == "call":
            self.cells[notebook][cell] = seconds

    def problems(self) -> list[str]:
        """Name every cell and every notebook over its budget, with its seconds."""
        slow_cells = [
            f"{notebook} {cell} took {seconds:.1f} s, the budget of a cell is {self.cell_limit:g} s"
            for notebook, cells in self.cells.items()
            for cell, seconds in cells.items()
            if seconds > self.cell_limit
        ]
        slow_notebooks = [
            f"{notebook} took {seconds:.1f} s, the budget of a notebook is {self.notebook_limit:g} s; "
            f"slowest: {self.slowest(notebook)}"
            for notebook, seconds in self.notebooks.items()
            if seconds > self.notebook_limit
        ]
        return slow_cells + slow_notebooks

    def slowest(self, notebook: str) -> str:
        cells = self.cells[notebook]
        cell = max(cells, key=cells.__getitem__, default="no cell ran")
        return f"{cell} {cells.get(cell, 0.0):.1f} s"

    # The hooks of pytest.

    def pytest_runtest_logreport(self, report):
        self.charge(report.nodeid, report.when, report.duration)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session, exitstatus):
        if exitstatus == pytest.ExitCode.OK and self.problems():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        if not self.notebooks:
            return
        terminalreporter.section("notebook budgets")
        for notebook, seconds in self.notebooks.items():
            terminalreporter.write_line(
                f"{notebook}: {seconds:.1f} s of {self.notebook_limit:g} s; "
                f"slowest: {self.slowest(notebook)} of {self.cell_limit:g} s"
            )
        for problem in self.problems():
            terminalreporter.write_line(f"OVER BUDGET {problem}", red=True)
        if self.problems():
            terminalreporter.write_line("A machine that is slower than two laptop cores may set DLMLAB_BUDGET_SCALE.")


def pytest_configure(config):
    scale = budget_scale()
    config.option.nbval_cell_timeout *= max(scale, 1)
    config.option.nbval_kernel_startup_timeout *= max(scale, 1)
    config.pluginmanager.register(Budget(scale), "notebook-budget")
