"""Several kernels at once: each is seen, measured and timed, and what was stored of others stays."""

import nbformat
import nbformat.v4 as v4
import psutil
import pytest
from nbclient.exceptions import CellExecutionError

from dlmlab import cli
from dlmlab.course import kernels


def notebook(folder, source: str):
    path = folder / "00_small.ipynb"
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(source)]), path)
    return path


def test_two_kernels_are_measured_beside_one_alone(tmp_path):
    held = "x = bytearray(80 * 2**20)\nx[::4096] = b'1' * len(x[::4096])\nimport time; time.sleep(1.5)"
    found = kernels.measure(notebook(tmp_path, held), 2)
    assert found["kernels"] == 2 == len(found["mb"]) == len(found["seconds"])
    assert all(80 < mb < 500 for mb in (*found["mb"], found["alone"]["mb"])), "each kernel holds 80 MB and Python"
    assert 160 < found["total_mb"] <= sum(found["mb"]) + 1
    assert min(*found["seconds"], found["alone"]["seconds"]) >= 1.5


def test_kernels_share_the_cores(tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    told = tmp_path / "threads"
    source = f"import os\nwith open({str(told)!r}, 'a', encoding='utf-8') as f: f.write(os.environ['OMP_NUM_THREADS'])"
    kernels.measure(notebook(tmp_path, source), 2)
    assert told.read_text(encoding="utf-8") == "422"


def test_a_cell_that_fails_is_an_error(tmp_path):
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        kernels.measure(notebook(tmp_path, "1 / 0"), 1)


def test_a_process_without_leave_to_look_has_its_resident_size(monkeypatch):
    def denied(self):
        raise psutil.AccessDenied()

    assert kernels.memory(psutil.Process().pid) > 10
    monkeypatch.setattr(psutil.Process, "memory_full_info", denied)
    assert kernels.memory(psutil.Process().pid) > 10


ROW = {"notebook": "03_x.ipynb", "kernels": 25, "mb": [700, 800], "total_mb": 2048, "seconds": [10.0, 30.0]}
ROW |= {"alone": {"seconds": 10.0, "mb": 640}, "machine": {"processor": "CPU", "cores": 2, "memory_gb": 24.0}}


def test_a_measurement_replaces_its_own_and_no_other(tmp_path):
    path = tmp_path / "load.json"
    assert kernels.read(path) == [] and "not measured" in kernels.table([])
    kernels.keep(ROW, path)
    kernels.keep(ROW | {"kernels": 2}, path)
    kernels.keep(ROW | {"total_mb": 1024}, path)
    assert [(row["kernels"], row["total_mb"]) for row in kernels.read(path)] == [(2, 2048), (25, 1024)]
    line = kernels.table(kernels.read(path)).splitlines()[2]
    assert "03_x.ipynb" in line and " 800 " in line and "1.0 GB" in line and "3.0 x" in line and "CPU, 2 cores" in line


def test_a_notebook_that_is_not_there_is_refused(capsys):
    assert cli.main(["load", "--kernels", "2", "--notebook", "77"]) == 2
    assert "0 notebooks begin so" in capsys.readouterr().err
