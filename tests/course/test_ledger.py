"""The ledger compares and never guesses, and holds what notebooks measure, nothing else."""

import ast
import json
import math
import re
from pathlib import Path

import pytest

from dlmlab import paths
from dlmlab.course import ledger
from dlmlab.course.ledger import LedgerError, record
from tests.notebooks.cells import labelled, parsed, read

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = paths.notebooks(ROOT)


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """Give a ledger of one accuracy and one bounded ratio in place of the course's own."""
    path = tmp_path / "ledger.json"
    monkeypatch.setenv("DLMLAB_LEDGER", str(path))
    entry = {"value": 0.90, "tol": 0.02, "note": "", "notebook": "01_sampling.ipynb"}
    ledger.save({"01.accuracy": entry, "01.ratio": entry | {"value": 2.5, "bound": ">1"}}, path)
    return path


@pytest.mark.parametrize("value", [0.90, 0.9199, 0.8801])
def test_a_value_within_tolerance_passes_silently_as_the_stored_one(file, capsys, value):
    assert record("01.accuracy", value, tol=0.02) == 0.90  # the page does not change with the processor
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("value", [0.9201, 0.8799])
def test_a_value_off_the_ledger_stops_a_strict_run_with_all_four_facts(file, value):
    with pytest.raises(LedgerError, match=f"01.accuracy: measured {value}, stored 0.9, tolerance 0.02"):
        record("01.accuracy", value, tol=0.02)


def test_a_learner_is_told_in_one_line_and_goes_on(file, capsys, monkeypatch):
    monkeypatch.delenv("DLMLAB_STRICT_LEDGER")
    assert record("01.accuracy", 0.5, tol=0.02) == 0.5
    assert capsys.readouterr().out == ("Not as in the ledger: 01.accuracy: measured 0.5, stored 0.9, tolerance 0.02\n")


def test_a_bound_replaces_the_tolerance(file):
    assert record("01.ratio", 9.0, tol=0.1, bound=">1") == 9.0
    with pytest.raises(LedgerError, match="measured 0.9, which must be >1"):
        record("01.ratio", 0.9, tol=0.1, bound=">1")


@pytest.mark.parametrize("bound, good, bad", [("<2", 1, 2), ("<=2", 2, 3), (">2", 3, 2), (">= 2.0", 2, 1)])
def test_bounds_are_read_as_written(file, bound, good, bad):
    record("01.ratio", good, tol=0.1, bound=bound)
    with pytest.raises(LedgerError):
        record("01.ratio", bad, tol=0.1, bound=bound)


def test_an_unknown_id_names_the_near_ones_and_how_to_add_it(file):
    with pytest.raises(LedgerError, match=r"01.acuracy is not in the ledger \(near: 01.accuracy\).*refresh"):
        record("01.acuracy", 0.9, tol=0.02)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_even_by_a_refresh(file, monkeypatch, value):
    monkeypatch.setenv("DLMLAB_REFRESH", "1")
    with pytest.raises(ValueError, match="not a finite number"):
        record("01.accuracy", value, tol=0.02)


@pytest.mark.parametrize("tol", [0.0, -1.0, math.inf, math.nan])
def test_a_senseless_tolerance_is_refused(file, tol):
    with pytest.raises(ValueError, match="tolerance of 01.accuracy"):
        record("01.accuracy", 0.9, tol=tol)


@pytest.mark.parametrize("arguments", [{"id": "two words"}, {"id": "a:b"}, {"id": ""}, {"bound": "about 3"}])
def test_a_malformed_id_or_bound_is_refused(file, arguments):
    with pytest.raises(ValueError, match="id|bound"):
        record(**{"id": "01.ratio", "value": 0.9, "tol": 0.02} | arguments)


def test_a_run_without_refresh_never_writes(file):
    before = file.read_bytes()
    record("01.accuracy", 0.91, tol=0.02)
    with pytest.raises(LedgerError):
        record("01.new", 0.5, tol=0.02)
    assert file.read_bytes() == before


def test_a_refresh_writes_value_tolerance_note_notebook_and_bound(file, monkeypatch):
    monkeypatch.setenv("DLMLAB_REFRESH", "1")
    monkeypatch.setenv("DLMLAB_NOTEBOOK", "02_x.ipynb")
    record("02.ratio", 3.0, tol=0.5, note="wall ratio", bound=">1")
    record("01.accuracy", 0.8, tol=0.01)
    entries = ledger.load()
    made = {"value": 3.0, "tol": 0.5, "note": "wall ratio", "notebook": "02_x.ipynb", "bound": ">1"}
    assert entries["02.ratio"] == made and entries["01.accuracy"]["value"] == 0.8
    record("00.first", 1, tol=0.5)
    assert list(json.loads(file.read_text(encoding="utf-8"))) == ["00.first", "01.accuracy", "01.ratio", "02.ratio"]
    assert [path.name for path in file.parent.iterdir()] == ["ledger.json"]  # no temporary file is left


def test_a_refresh_refuses_a_value_that_breaks_its_own_bound(file, monkeypatch):
    monkeypatch.setenv("DLMLAB_REFRESH", "1")
    with pytest.raises(LedgerError, match="breaks its own bound"):
        record("01.ratio", 0.5, tol=0.1, bound=">1")


def test_large_counts_are_stored_exactly(file, monkeypatch):
    monkeypatch.setenv("DLMLAB_REFRESH", "1")
    record("01.flops", 123_456_789_012_345, tol=0.5)
    assert ledger.load()["01.flops"]["value"] == 123_456_789_012_345


# The course's own ledger.


def recorded_patterns(path: Path) -> list[re.Pattern]:
    """Collect the first arguments of all calls of `record` in a notebook; a field of an f-string matches anything."""
    calls = [node for _, cell in labelled(read(path), "code") for node in ast.walk(parsed(cell)) if _is_record(node)]
    return [re.compile(_as_pattern(call.args[0] if call.args else call.keywords[0].value)) for call in calls]


def _is_record(node: ast.AST) -> bool:
    name = getattr(getattr(node, "func", None), "attr", "") or getattr(getattr(node, "func", None), "id", "")
    return isinstance(node, ast.Call) and name in ("record", "share")


def _as_pattern(id: ast.expr) -> str:
    if isinstance(id, ast.Constant):
        return re.escape(str(id.value))
    if isinstance(id, ast.JoinedStr):
        return "".join(re.escape(part.value) if isinstance(part, ast.Constant) else r"[\w.\-]+" for part in id.values)
    return r"(?!)"  # an id that cannot be read off the page does not count


def test_the_ledger_is_not_empty_and_its_numbers_make_sense():
    entries = ledger.load()
    assert entries, "data/ledger.json is missing or empty: `make refresh` makes it"
    for id, entry in entries.items():
        assert math.isfinite(entry["value"]), id
        assert entry["tol"] > 0, id
        assert "bound" not in entry or ledger.BOUND.fullmatch(entry["bound"]), id


def test_every_entry_is_measured_by_the_notebook_it_names():
    measured = {path.name: recorded_patterns(path) for path in NOTEBOOKS}
    for id, entry in ledger.load().items():
        assert entry["notebook"] in measured, f"{id} comes from {entry['notebook']!r}, which does not exist"
        assert any(pattern.fullmatch(id) for pattern in measured[entry["notebook"]]), f"no cell records {id}"


def test_the_ledger_repeats_no_stored_table():
    """A tolerance no machine can leave is that of a number that was read from a file."""
    for id, entry in ledger.load().items():
        assert entry["tol"] > min(1e-5, 0.01 * abs(entry["value"])), f"{id}: quote it from its table"
