"""The doctor says what is wrong and what mends it, for every failure it knows; and projects times by a forward."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dlmlab import cli
from dlmlab.course import doctor

ROOT = Path(__file__).resolve().parents[2]


def stops(finding: doctor.Finding, says: str, mend: str) -> None:
    assert finding.stops and says in finding.says and mend in finding.mend, finding


def warns(finding: doctor.Finding, says: str, mend: str) -> None:
    assert not finding.stops and says in finding.says and mend in finding.mend, finding


# ------------------------------------------------------------------------------------------------ each failure


def test_a_python_that_is_too_old(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 4))
    stops(doctor.look_at_python(), "3.10.4, 3.11 or newer", "make PYTHON=python3.11 lab")


def test_the_oldest_python_is_the_one_of_the_package():
    oldest = ".".join(map(str, doctor.PYTHON))
    assert f'requires-python = ">={oldest}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_packages_that_are_missing_or_out_of_range(monkeypatch):
    asked = ["torch<1", "no-such-package>=2", "numpy>=1", 'pytest>=999; extra == "test"']
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: asked)
    stops(doctor.look_at_packages(), "no-such-package missing", "make lab")
    assert "torch 2" in doctor.look_at_packages().says and "pytest" not in doctor.look_at_packages().says


def test_a_course_that_was_never_installed(monkeypatch):
    def unknown(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "requires", unknown)
    stops(doctor.look_at_packages(), "not installed", "make lab")


def tried(monkeypatch, code: int, out: str = "", err: str = "") -> doctor.Finding:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    done = SimpleNamespace(returncode=code, stdout=out, stderr=err)
    monkeypatch.setattr(doctor.subprocess, "run", lambda *args, **options: done)
    return doctor.look_at_torch()


def test_a_torch_for_another_processor_is_killed_and_named(monkeypatch):
    stops(tried(monkeypatch, -4), "killed by signal 4", "--force-reinstall")


def test_a_torch_for_cards_that_are_not_there(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    warns(tried(monkeypatch, 0, out="12.8\n"), "CUDA 12.8", "CPU index")


def test_a_torch_that_is_absent(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    stops(doctor.look_at_torch(), "not installed", "make lab")


def test_a_torch_that_does_not_start_ends_with_its_code_and_no_trace(tmp_path):
    """The whole command, in a process whose torch is broken: what is left of it must still speak."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libtorch_cpu.so: not found')", encoding="utf-8")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    run = [sys.executable, "-m", "dlmlab", "doctor"]
    done = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (12, "")
    assert "STOPS torch" in done.stdout and "libtorch_cpu.so: not found" in done.stdout
    assert "mend: python -m pip install --force-reinstall" in done.stdout and "(exit status 12)" in done.stdout


@pytest.mark.parametrize("memory, word", [(0.5, "stops"), (1.5, "warns"), (8.0, "fine"), (None, "fine")])
def test_little_memory(monkeypatch, memory, word):
    monkeypatch.setattr(doctor, "memory_gigabytes", lambda: memory)
    finding = doctor.look_at_memory()
    assert finding.stops == (word == "stops") and bool(finding.mend) == (word != "fine")
    assert memory is None or f"{memory:.1f} GB" in finding.says


def test_the_memory_of_a_container_counts(monkeypatch):
    monkeypatch.setattr(doctor, "_read", lambda path: str(doctor.GB // 2) if path.endswith("memory.max") else "max")
    assert doctor.memory_gigabytes() == 0.5
    monkeypatch.setattr(doctor, "_read", lambda path: "max")
    assert doctor.memory_gigabytes() > 0.5


@pytest.mark.parametrize("error", [AttributeError, ValueError, OSError])
def test_a_system_that_does_not_tell_its_memory_is_no_fault(error, monkeypatch):
    def silent(name):
        raise error

    monkeypatch.setattr(doctor.os, "sysconf", silent, raising=False)
    assert doctor.memory_gigabytes() is None and doctor.look_at_memory().mend == ""


@pytest.mark.parametrize("free, word", [(0.05, "stops"), (0.5, "warns"), (20, "fine")])
def test_a_full_disk(monkeypatch, free, word):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free * doctor.GB))
    finding = doctor.look_at_disk()
    assert finding.stops == (word == "stops") and bool(finding.mend) == (word != "fine")


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """Let jupyter find only the kernels that are written here."""
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_PATH", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))

    def write(starts: str) -> None:
        folder = tmp_path / "kernels" / "python3"
        folder.mkdir(parents=True)
        spec = {"argv": [starts, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Python 3"}
        (folder / "kernel.json").write_text(json.dumps(spec | {"language": "python"}), encoding="utf-8")

    return write


def test_a_kernel_of_another_python(kernels, tmp_path):
    other = tmp_path / "other-python"
    other.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    other.chmod(0o755)
    kernels(str(other))
    stops(doctor.look_at_kernel(), "has no dlmlab", "ipykernel install --sys-prefix")


def test_a_kernel_whose_python_is_gone(kernels):
    kernels("/no/such/python")
    stops(doctor.look_at_kernel(), "/no/such/python, which is not there", "ipykernel install")


def test_a_kernel_of_this_python_is_fine(kernels):
    kernels(sys.executable)
    assert doctor.look_at_kernel() == doctor.Finding("kernel", "python3 is this Python")


def test_a_missing_kernel(monkeypatch):
    from jupyter_client import kernelspec

    def none(self, name):
        raise kernelspec.NoSuchKernel(name)

    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", none)
    stops(doctor.look_at_kernel(), "no kernel python3", "ipykernel install")


def test_models_that_are_not_those_that_were_shipped(tmp_path):
    stops(doctor.look_at_models(tmp_path), "no manifest", "git restore data")
    listed = {"a": {"sha256": doctor.hashlib.sha256(b"right").hexdigest()}}
    listed |= {"b": {"sha256": ""}, "c": {"sha256": ""}}
    (tmp_path / "MANIFEST.json").write_text(json.dumps(listed), encoding="utf-8")
    (tmp_path / "a").write_bytes(b"wrong")
    (tmp_path / "b").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    finding = doctor.look_at_models(tmp_path)
    stops(finding, "a is not the file that was shipped; b is a pointer of git-lfs; c is missing", "git restore data")
    (tmp_path / "a").write_bytes(b"right")
    assert "a is" not in doctor.look_at_models(tmp_path).says


def test_the_models_of_this_checkout_are_the_listed_ones():
    assert not doctor.look_at_models().mend


@pytest.mark.parametrize(
    "asked, cores, says",
    [("64", 2, "64 of 2 usable cores"), ("1", 4, "slower"), ("two", 4, "OMP_NUM_THREADS is 'two'"), ("2", 2, "")],
)
def test_threads_and_cores(monkeypatch, asked, cores, says):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(doctor, "usable_cores", lambda: cores)
    finding = doctor.look_at_threads()
    assert not finding.stops and says in finding.says and ("OMP_NUM_THREADS" in finding.mend) == bool(says)


def test_the_quota_of_a_container_is_its_number_of_cores(monkeypatch):
    monkeypatch.setattr(doctor, "_read", lambda path: "100000 100000")
    assert doctor.usable_cores() == 1
    monkeypatch.setattr(doctor, "_read", lambda path: "max 100000")
    assert doctor.usable_cores() >= 1


# ------------------------------------------------------------------------------------------------ the report


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(doctor, "forward_milliseconds", lambda rounds=9: 30.0)
    monkeypatch.setattr(doctor, "LOOKS", {10: doctor.look_at_python, 17: doctor.look_at_threads})


def test_the_status_is_the_code_of_the_first_that_stops(quick, monkeypatch, capsys):
    assert cli.main(["doctor"]) == 0 and "the course runs here" in capsys.readouterr().out
    bad = doctor.Finding("x", "broken", "mend it", stops=True)
    monkeypatch.setitem(doctor.LOOKS, 14, lambda: bad)
    monkeypatch.setitem(doctor.LOOKS, 15, lambda: bad)
    assert cli.main(["doctor"]) == 14
    out = capsys.readouterr().out
    assert "STOPS x" in out and "mend: mend it" in out and "(exit status 14)" in out


def test_a_warning_is_no_reason_to_stop(quick, monkeypatch):
    monkeypatch.setitem(doctor.LOOKS, 14, lambda: doctor.Finding("x", "little", "get more"))
    assert doctor.report().code == 0 and "warns x" in doctor.report()


def test_every_code_is_its_own_and_none_means_something_else():
    assert sorted(doctor.LOOKS) == list(range(10, 18)), "codes are never renumbered"
    assert all(look.__doc__.endswith("?") for look in doctor.LOOKS.values())


def test_the_doctor_projects_by_the_speed_of_a_forward(quick, tmp_path):
    timing = tmp_path / "timing.json"
    timing.write_text(json.dumps({"00_start_here.ipynb": {"forward_ms": 10.0, "seconds": 12.0}}), encoding="utf-8")
    report = doctor.report(timing)
    assert "36 s" in report and "torch" in report


def test_every_notebook_keeps_its_time_and_that_of_a_forward_then(tmp_path, monkeypatch):
    timing = tmp_path / "timing.json"
    monkeypatch.setattr(doctor, "forward_milliseconds", lambda rounds=9: 10.0)
    doctor.write_timing({"a": 1.0, "b": 2.0}, timing)
    monkeypatch.setattr(doctor, "forward_milliseconds", lambda rounds=9: 30.0)  # a busy hour
    doctor.write_timing({"b": 6.0}, timing)
    kept = json.loads(timing.read_text(encoding="utf-8"))
    assert kept == {"a": {"forward_ms": 10.0, "seconds": 1.0}, "b": {"forward_ms": 30.0, "seconds": 6.0}}


def test_a_forward_takes_time_and_the_report_needs_no_timings(tmp_path):
    assert 0.1 < doctor.forward_milliseconds(rounds=1) < 60_000
    report = doctor.report(tmp_path / "none.json")
    assert "one forward" in report and "projected" not in report


def test_the_fingerprint_names_what_changes_last_digits():
    found = doctor.machine()
    assert {"python", "torch", "capability", "threads"} <= found.keys() and all(found.values())
