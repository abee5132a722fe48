"""The budget plugin fails a run of green cells that took too long, and only then."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.notebooks.budget import PATIENCE, Budget, budget_scale, machine_scale


def test_a_cell_over_its_budget_is_named_with_its_seconds():
    budget = Budget(scale=1.0)
    budget.charge("notebooks/07_x.ipynb::Cell 3", "call", 20.5)
    assert budget.problems() == ["notebooks/07_x.ipynb Cell 3 took 20.5 s, the budget of a cell is 20 s"]


def test_many_fast_cells_exhaust_the_notebook_together():
    budget = Budget(scale=1.0)
    for cell in range(10):
        budget.charge(f"notebooks/07_x.ipynb::Cell {cell}", "call", 9.0 + cell / 10)
    [problem] = budget.problems()
    assert "07_x.ipynb took 94.5 s" in problem and "slowest: Cell 9 9.9 s" in problem


def test_kernel_start_is_charged_to_the_notebook_and_not_to_the_cell():
    budget = Budget()
    budget.charge("a.ipynb::Cell 0", "setup", 30.0)
    budget.charge("a.ipynb::Cell 0", "call", 1.0)
    assert not budget.problems() and budget.notebooks["a.ipynb"] == 31.0


def test_unit_tests_are_not_charged():
    budget = Budget()
    budget.charge("tests/test_x.py::test_slow", "call", 1000.0)
    assert not budget.problems() and not budget.notebooks


def test_scale_stretches_both_budgets():
    budget = Budget(scale=2.0)
    budget.charge("a.ipynb::Cell 0", "call", 39.0)
    assert not budget.problems()
    assert budget.notebook_limit == 180.0


def test_a_slower_machine_is_measured_when_something_is_over_and_only_then():
    asked = []

    def slow() -> float:
        asked.append(1)
        return 1.5

    quick, late, far_too_late = (Budget(measure=slow) for _ in range(3))
    quick.charge("a.ipynb::Cell 0", "call", 19.0)
    assert not quick.problems() and not asked
    late.charge("a.ipynb::Cell 0", "call", 29.0)
    assert not late.problems() and late.notebook_limit == 135.0
    far_too_late.charge("a.ipynb::Cell 0", "call", 31.0)
    assert len(far_too_late.problems()) == 1 and len(asked) == 2


def test_no_machine_is_faster_than_its_budget(monkeypatch):
    for milliseconds, scale in ((43.0, 1.0), (172.0, 2.0)):
        monkeypatch.setattr("dlmlab.doctor.forward_milliseconds", lambda ms=milliseconds: ms)
        assert machine_scale() == scale


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", "inf"])
def test_a_senseless_scale_is_refused(text):
    with pytest.raises(pytest.UsageError, match="DLMLAB_BUDGET_SCALE"):
        budget_scale({"DLMLAB_BUDGET_SCALE": text})


@pytest.mark.parametrize("scale, stretched", [("0.01", 1), ("1", 1), ("30", 30), (None, PATIENCE)])
def test_scale_stretches_the_timeouts_of_nbval_and_never_shortens_them(pytester, monkeypatch, scale, stretched):
    monkeypatch.delenv("DLMLAB_BUDGET_SCALE", raising=False)
    if scale is not None:
        monkeypatch.setenv("DLMLAB_BUDGET_SCALE", scale)
    given = ("--nbval-cell-timeout=120", "--nbval-kernel-startup-timeout=60")
    option = pytester.parseconfigure("-p", "tests.notebooks.budget", *given).option
    assert option.nbval_cell_timeout == 120 * stretched > Budget(float(scale or 1)).cell_limit
    assert option.nbval_kernel_startup_timeout == 60 * stretched


@pytest.mark.parametrize("scale, expected", [("0.01", pytest.ExitCode.TESTS_FAILED), ("1", pytest.ExitCode.OK)])
def test_run_of_green_cells_fails_exactly_when_over_budget(pytester, monkeypatch, scale, expected):
    monkeypatch.setenv("DLMLAB_BUDGET_SCALE", scale)
    cell = new_code_cell("import time; time.sleep(0.5)", execution_count=1)
    nbformat.write(new_notebook(cells=[cell]), pytester.path / "slow.ipynb")
    options = ("--nbval", "--nbval-current-env", "--nbval-cell-timeout=60")
    result = pytester.runpytest_inprocess("-p", "tests.notebooks.budget", *options)
    result.assert_outcomes(passed=1)
    assert result.ret == expected
    over = ["*OVER BUDGET *slow.ipynb Cell 0 took * s, the budget of a cell is 0.2 s*"]
    (result.stdout.fnmatch_lines if expected else result.stdout.no_fnmatch_line)(over if expected else over[0])
