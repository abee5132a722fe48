"""The doctor tells what this machine is, and projects times by the speed of a forward."""

import json

import pytest

from dlmlab.course import doctor


def test_the_doctor_projects_by_the_speed_of_a_forward(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "forward_milliseconds", lambda rounds=9: 30.0)
    timing = tmp_path / "timing.json"
    timing.write_text(json.dumps({"forward_ms": 10.0, "notebooks": {"00_start_here.ipynb": 12.0}}), encoding="utf-8")
    report = doctor.report(timing)
    assert "3.0 x" in report and "36 s" in report and "torch" in report


def test_timings_of_a_machine_of_another_speed_are_dropped(tmp_path, monkeypatch):
    timing = tmp_path / "timing.json"
    monkeypatch.setattr(doctor, "forward_milliseconds", lambda rounds=9: 10.0)
    doctor.write_timing({"a": 1.0}, timing)
    doctor.write_timing({"b": 2.0}, timing)
    assert json.loads(timing.read_text(encoding="utf-8"))["notebooks"] == {"a": 1.0, "b": 2.0}
    monkeypatch.setattr(doctor, "forward_milliseconds", lambda rounds=9: 30.0)
    doctor.write_timing({"b": 6.0}, timing)
    assert json.loads(timing.read_text(encoding="utf-8"))["notebooks"] == {"b": 6.0}


def test_a_forward_takes_time_and_the_report_needs_no_timings(tmp_path):
    assert 0.1 < doctor.forward_milliseconds(rounds=1) < 60_000
    report = doctor.report(tmp_path / "none.json")
    assert "one forward" in report and "projected" not in report


def test_the_fingerprint_names_what_changes_last_digits():
    found = doctor.machine()
    assert {"python", "torch", "capability", "threads"} <= found.keys() and all(found.values())


@pytest.mark.parametrize("error", [AttributeError, ValueError, OSError])
def test_a_system_that_does_not_tell_its_memory_is_no_fault(error, monkeypatch):
    def silent(name):
        raise error

    monkeypatch.setattr(doctor.os, "sysconf", silent, raising=False)
    assert doctor.memory_gigabytes() is None and doctor.machine()["memory"] == "unknown"
