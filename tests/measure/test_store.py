"""Reading a stored table needs no torch; a write leaves the old file or the new one."""

import subprocess
import sys

import pytest

from dlmlab.measure import store

READ = """
import sys
import dlmlab as dl
rows = dl.store.read("04_sinks")
heavy = {name.partition(".")[0] for name in sys.modules} & {"torch", "transformers", "scipy", "numpy", "matplotlib"}
ours = sorted(name for name in sys.modules if name.startswith("dlmlab."))
print(len(rows), heavy or "light", *ours)
"""


def test_reading_a_table_imports_no_other_room_and_nothing_heavy():
    found = subprocess.run(
        [sys.executable, "-c", READ], capture_output=True, encoding="utf-8", check=True
    ).stdout.split()
    assert int(found[0]) > 1 and found[1] == "light"
    assert found[2:] == ["dlmlab.measure", "dlmlab.measure.store", "dlmlab.paths"]


def test_a_missing_file_is_the_default_and_a_missing_table_is_empty(tmp_path):
    assert store.load(tmp_path / "x.json", {"a": 1}) == {"a": 1} and store.read(tmp_path / "x.json") == []


def test_rows_and_objects_come_back_as_written(tmp_path):
    rows = [{"a": 1, "b": [0.1, None]}, {"a": 2, "b": "<ü>"}]
    store.write(tmp_path / "t.json", rows)
    assert store.read(tmp_path / "t.json") == rows
    assert len((tmp_path / "t.json").read_text(encoding="utf-8").splitlines()) == 2 + len(rows)  # one a line
    store.save(tmp_path / "new" / "o.json", {"b": "ü", "a": 1}, indent=2, sort_keys=True)
    assert (tmp_path / "new" / "o.json").read_text(encoding="utf-8") == '{\n  "a": 1,\n  "b": "ü"\n}\n'


def test_a_stop_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "t.json"
    store.save(path, 1)

    def stop(*files):
        raise KeyboardInterrupt

    monkeypatch.setattr(store.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        store.save(path, 2)
    assert store.load(path, None) == 1


def test_the_same_text_is_not_written_again(tmp_path):
    path = tmp_path / "t.json"
    store.save(path, [1])
    before = path.stat().st_mtime_ns
    store.save(path, [1])
    assert path.stat().st_mtime_ns == before


def test_select_and_measured_agree():
    rows = [{"a": 1, "b": 2}, {"a": 1, "b": 3}]
    assert store.select(rows, a=1, b=3) == rows[1:] and store.measured(rows, a=1)
    assert not store.measured(rows, a=2)
    with pytest.raises(ValueError, match="no row with {'a': 2}"):
        store.select(rows, a=2)
