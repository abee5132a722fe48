"""A refresh re-executes notebooks, owns the ledger entries they record, and changes nothing when a cell fails."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dlmlab.course import ledger
from dlmlab.course.refresh import WIDGET_STATE, WIDGET_VIEW, normalise, refresh

RECORD = "from dlmlab import ledger\nledger.record('{id}', {value}, tol=0.01)"
QUOTE = "Accuracy is <!--ledger:{id}:.2f-->?<!--/-->."


def write_notebook(root: Path, name: str, *sources: str, quote: str = "Title") -> Path:
    path = root / "notebooks" / name
    cells = [new_markdown_cell(quote), *(new_code_cell(source, execution_count=7) for source in sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def root(tmp_path) -> Path:
    """Give a small course: one notebook that records `00.a`, a README that quotes it, a ledger with a forgotten id."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "README.md").write_text(QUOTE.format(id="00.a"), encoding="utf-8")
    write_notebook(tmp_path, "00_a.ipynb", RECORD.format(id="00.a", value=0.5), "1 + 1", quote=QUOTE.format(id="00.a"))
    stale = {"value": 1.0, "tol": 0.1, "note": "", "notebook": "00_a.ipynb"}
    ledger.save(
        {"00.forgotten": stale, "09.deleted": stale | {"notebook": "09_gone.ipynb"}}, tmp_path / "data/ledger.json"
    )
    return tmp_path


def entries(root: Path) -> dict:
    return ledger.load(root / "data" / "ledger.json")


def test_refresh_of_all_then_of_one(root, capsys):
    refresh(root=root)
    made = {"value": 0.5, "tol": 0.01, "note": "", "notebook": "00_a.ipynb"}
    assert entries(root) == {"00.a": made}, "ids that nothing records any more must go"
    assert (root / "README.md").read_text(encoding="utf-8") == "Accuracy is <!--ledger:00.a:.2f-->0.50<!--/-->."
    nb = nbformat.read(root / "notebooks/00_a.ipynb", as_version=4)
    assert [cell.execution_count for cell in nb.cells[1:]] == [1, 2]
    assert nb.cells[2].outputs[0].data["text/plain"] == "2"
    assert "0.50<" in nb.cells[0].source
    assert capsys.readouterr().out.startswith("00_a.ipynb ... ")

    other = write_notebook(root, "01_b.ipynb", RECORD.format(id="01.b", value=2))
    before = (root / "notebooks/00_a.ipynb").read_bytes()
    refresh([other], root=root)
    assert set(entries(root)) == {"00.a", "01.b"}, "a partial refresh keeps the entries of the others"
    assert (root / "notebooks/00_a.ipynb").read_bytes() == before


def test_a_failing_cell_changes_no_file(root):
    bad = write_notebook(root, "01_bad.ipynb", RECORD.format(id="01.b", value=2), "1 / 0")
    files = [bad, root / "README.md", root / "data/ledger.json"]
    before = [path.read_bytes() for path in files]
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        refresh([bad], root=root)
    assert [path.read_bytes() for path in files] == before


def test_two_notebooks_may_not_record_one_id(root):
    ledger.save({"00.a": {"value": 0.5, "tol": 0.1, "note": "", "notebook": "00_a.ipynb"}}, root / "data/ledger.json")
    twin = write_notebook(root, "01_twin.ipynb", RECORD.format(id="00.a", value=0.5))
    with pytest.raises(ledger.LedgerError, match="00.a is recorded by 00_a.ipynb and by 01_twin.ipynb"):
        refresh([twin], root=root)


def test_a_course_without_notebooks_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no notebook"):
        refresh(root=tmp_path)


def notebook_with_widget(model_id: str, layout_id: str = "0" * 31 + "f", size: int = 10) -> nbformat.NotebookNode:
    data = {"text/plain": "IntSlider(value=3)", WIDGET_VIEW: {"model_id": model_id, "version_major": 2}}
    cell = new_code_cell("slider", execution_count=1, outputs=[new_output("display_data", data=data)], id="a")
    cell.metadata["execution"] = {"iopub.status.busy": "2025-01-01T00:00:00Z"}
    states = {layout_id: {"state": {}}, model_id: {"state": {"value": "x" * size, "layout": f"IPY_MODEL_{layout_id}"}}}
    state = {WIDGET_STATE: {"state": states, "version_major": 2}}
    language = {"name": "python", "version": "3.11.7"}
    return new_notebook(cells=[cell], metadata={"widgets": state, "language_info": language, "signature": "abc"})


def test_normalise_gives_the_same_file_for_the_same_results():
    first, second = (
        nbformat.writes(normalise(notebook_with_widget(*ids))) for ids in (("a" * 32, "b" * 32), ("d" * 32, "c" * 32))
    )
    assert first == second
    assert "2025-01-01" not in first and "3.11.7" not in first and "abc" not in first
    assert json.loads(first)["metadata"]["kernelspec"]["name"] == "python3"


def test_normalise_is_idempotent():
    once = nbformat.writes(normalise(notebook_with_widget("a" * 32)))
    assert nbformat.writes(normalise(nbformat.reads(once, as_version=4))) == once


def test_what_a_cell_printed_is_one_output_however_the_kernel_flushed():
    def printed(*pieces):
        outputs = [new_output("stream", name=name, text=text) for name, text in pieces]
        outputs.insert(2, new_output("display_data", data={"text/plain": "figure"}))
        return normalise(new_notebook(cells=[new_code_cell("1", outputs=outputs, id="a")])).cells[0].outputs

    found = printed(("stdout", "a\n"), ("stdout", "b\n"), ("stdout", "c"), ("stderr", "d"), ("stdout", "e"))
    assert [o.get("text") for o in found] == ["a\nb\n", None, "c", "d", "e"]  # the order of what is seen stays


def test_a_small_widget_state_stays_with_its_view():
    nb = normalise(notebook_with_widget("a" * 32))
    layout, slider = nb.metadata.widgets[WIDGET_STATE].state.items()
    assert slider[1].state.layout == f"IPY_MODEL_{layout[0]}" == "IPY_MODEL_" + "0" * 32
    assert nb.cells[0].outputs[0].data[WIDGET_VIEW].model_id == slider[0] == "0" * 31 + "1"


def test_a_big_widget_state_goes_with_its_view_and_leaves_the_text():
    nb = normalise(notebook_with_widget("a" * 32, size=100_001))
    assert "widgets" not in nb.metadata
    assert nb.cells[0].outputs[0].data == {"text/plain": "IntSlider(value=3)"}


@pytest.mark.filterwarnings("ignore::nbformat.warnings.MissingIDFieldWarning")
def test_normalise_adds_missing_cell_ids():
    nb = new_notebook(cells=[new_code_cell("1")])
    del nb.cells[0]["id"]
    nb.nbformat_minor = 4
    nb = normalise(nb)
    assert nb.nbformat_minor == 5 and nb.cells[0].id
