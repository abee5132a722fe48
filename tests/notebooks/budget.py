"""pytest plugin: 20 s a cell, 90 s a notebook, or the run fails although every cell is green.

A cell is charged its own execution; the first cell of a notebook pays for importing torch and transformers.
A notebook is charged everything, the start of its kernel included. The budgets hold on two laptop cores. What is over
them on a slower or a busy machine is judged by its speed: one forward of a model is timed, and the budgets grow by as
much as it is slower than `REFERENCE_MS`. DLMLAB_BUDGET_SCALE sets the factor instead (3 allows 60 s a cell and 270 s a
notebook). nbval's own timeouts are stretched too: a budget that is larger than them would never be reached.
"""

import math
import os
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property

import pytest

CELL_SECONDS = 20.0
NOTEBOOK_SECONDS = 90.0
REFERENCE_MS = 86.0  # `dlmlab.doctor.forward_milliseconds` where the budgets were set
PATIENCE = 3.0  # how much longer nbval waits when no scale is set


def budget_scale(environ=os.environ) -> float | None:
    """Read DLMLAB_BUDGET_SCALE, None when it is not set; raise `pytest.UsageError` unless it is a finite number above
    0."""
    text = environ.get("DLMLAB_BUDGET_SCALE")
    if text is None:
        return None
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 0 < scale < math.inf:
        raise pytest.UsageError(f"DLMLAB_BUDGET_SCALE must be a number above 0, got {text!r}")
    return scale


def machine_scale() -> float:
    """Return how much slower this machine is now than the one of the budgets; 1 for a faster one."""
    from dlmlab.course.doctor import forward_milliseconds  # torch: not for runs that need no scale

    return max(1.0, forward_milliseconds() / REFERENCE_MS)


class Budget:
    """Seconds spent by cell and by notebook, and what exceeds the budgets.

    `scale` None: `measure` is asked, once, when something is over the budgets as they are.
    """

    def __init__(self, scale: float | None = None, measure: Callable[[], float] = machine_scale):
        self.given, self.measure = scale, measure
        self.cells: dict[str, dict[str, float]] = defaultdict(dict)  # notebook -> cell -> seconds of execution
        self.notebooks: dict[str, float] = defaultdict(float)

    @cached_property
    def scale(self) -> float:
        if self.given is not None:
            return self.given
        longest = max((s for cells in self.cells.values() for s in cells.values()), default=0.0)
        over = longest > CELL_SECONDS or max(self.notebooks.values(), default=0.0) > NOTEBOOK_SECONDS
        return self.measure() if over else 1.0

    @property
    def cell_limit(self) -> float:
        return CELL_SECONDS * self.scale

    @property
    def notebook_limit(self) -> float:
        return NOTEBOOK_SECONDS * self.scale

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
            f"{notebook} {cell} took {seconds:.1f} s, the budget of a cell is {self.cell_limit:.3g} s"
            for notebook, cells in self.cells.items()
            for cell, seconds in cells.items()
            if seconds > self.cell_limit
        ]
        slow_notebooks = [
            f"{notebook} took {seconds:.1f} s, the budget of a notebook is {self.notebook_limit:.3g} s; "
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
        if self.given is None and self.scale > 1:
            terminalreporter.write_line(f"This machine takes {self.scale:.2f} x as long as the budgets assume.")
        terminalreporter.section("notebook budgets")
        for notebook, seconds in self.notebooks.items():
            terminalreporter.write_line(
                f"{notebook}: {seconds:.1f} s of {self.notebook_limit:.3g} s; "
                f"slowest: {self.slowest(notebook)} of {self.cell_limit:.3g} s"
            )
        for problem in self.problems():
            terminalreporter.write_line(f"OVER BUDGET {problem}", red=True)
        if self.problems():
            terminalreporter.write_line("DLMLAB_BUDGET_SCALE=3 allows three times as long.")


def pytest_configure(config):
    scale = budget_scale()
    patience = PATIENCE if scale is None else max(scale, 1)
    config.option.nbval_cell_timeout *= patience
    config.option.nbval_kernel_startup_timeout *= patience
    config.pluginmanager.register(Budget(scale), "notebook-budget")
