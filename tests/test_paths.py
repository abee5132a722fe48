"""One module knows where the course lies; what writes asks it first; files are read and written alike everywhere."""

import ast
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from dlmlab import cli, paths
from dlmlab.course import manifest, refresh
from dlmlab.measure import hardware
from dlmlab.measure.table import Table
from dlmlab.study import speedrun
from dlmlab.task import tasks

ROOT = paths.checkout()
COMMANDS_THAT_WRITE = ["refresh", "measure 01_sampling", "speedrun --recipe salient", "bench", "manifest", "data"]


def code_files() -> list[Path]:
    return [ROOT / "conftest.py", *(ROOT / "dlmlab").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]


def calls(text: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call with the last part of its function's name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", "") or getattr(node.func, "id", ""), node


# ------------------------------------------------------------------------------------------------ where things lie


def test_no_other_module_asks_where_it_lies():
    files = [path.name for path in (ROOT / "dlmlab").rglob("*.py") if "__file__" in path.read_text(encoding="utf-8")]
    assert files == ["paths.py"]


@pytest.fixture
def idle(monkeypatch):
    """Make the work of every command that writes an error: what is refused must not have begun."""

    def work(*args, **options):
        raise AssertionError("the work has begun")

    for module, name in [(refresh, "execute"), (speedrun, "race"), (hardware, "fingerprint"), (tasks, "build_split")]:
        monkeypatch.setattr(module, name, work)
    monkeypatch.setattr(manifest, "model_card", work)
    monkeypatch.setattr(Table, "measure", work)


@pytest.mark.parametrize("command", COMMANDS_THAT_WRITE)
def test_an_installed_copy_writes_nothing(idle, monkeypatch, capsys, command):
    monkeypatch.setattr(paths, "INSTALLED", True)
    assert cli.main(command.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"dlmlab {command.split()[0]}: ") and "checkout" in error and error.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS_THAT_WRITE)
def test_a_read_only_checkout_is_refused_before_the_work(idle, monkeypatch, capsys, command):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cli.main(command.split()) == 2
    error = capsys.readouterr().err
    assert str(ROOT) in error and "read-only" in error and error.count("\n") == 1


def test_only_the_notebooks_of_the_course_are_the_courses(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("01_sampling", "12_two_words", "Untitled", "Untitled1", "01_sampling-Copy1", "01_sampling (1)", "1_a"):
        (folder / f"{name}.ipynb").touch()
    assert [path.stem for path in paths.notebooks(tmp_path)] == ["01_sampling", "12_two_words"]


def test_a_notebook_of_the_learner_is_not_collected(pytester):
    shutil.copy(ROOT / "conftest.py", pytester.path / "courses_conftest.py")
    pytester.makeconftest("from courses_conftest import pytest_ignore_collect")
    (pytester.mkdir("notebooks") / "helper.py").write_text("1 / 0", encoding="utf-8")
    for name in ("Untitled", "01_a-Copy1", "01_a"):
        nbformat.write(new_notebook(cells=[new_code_cell("1")]), pytester.path / f"notebooks/{name}.ipynb")
    every = pytester.inline_genitems("--doctest-modules", "--nbval", "notebooks")[0]
    assert [item.nodeid for item in every] == ["notebooks/01_a.ipynb::Cell 0"]
    named = pytester.inline_genitems("--nbval", "notebooks/Untitled.ipynb")[0]
    assert [item.nodeid for item in named] == ["notebooks/Untitled.ipynb::Cell 0"]


def test_matplotlib_says_nothing_where_there_is_no_home(monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", "restored after the test")
    monkeypatch.delenv("MPLCONFIGDIR")
    monkeypatch.setenv("HOME", "/nowhere")
    paths.give_matplotlib_a_folder()
    assert os.access(os.environ["MPLCONFIGDIR"], os.W_OK)


def test_the_package_sees_to_that_when_it_is_imported():
    """A function that nothing calls keeps nobody quiet: a fresh process without a home asks what the import did."""
    program = "import os, dlmlab; print(os.path.isdir(os.environ['MPLCONFIGDIR']))"
    env = {k: v for k, v in os.environ.items() if k != "MPLCONFIGDIR"} | {"HOME": "/nowhere"}
    run = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, encoding="utf-8")
    assert run.stdout.strip() == "True", run.stderr


# ------------------------------------------------------------------------------------------------ text


def test_a_console_without_the_sign_of_a_mask_still_gets_the_grid(monkeypatch):
    def doctor(args):
        print("16 ▢ ▢ ·")

    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    monkeypatch.setattr(cli, "doctor", doctor)
    assert cli.main(["doctor"]) == 0
    console.flush()
    assert console.buffer.getvalue().decode("cp1252").rstrip() == "16 ? ? ·"


def unspecified(text: str, *, newline: bool) -> list[int]:
    """List the lines that read or write text in the encoding, or write the line ends, of whoever runs them."""
    found = []
    for name, call in calls(text):
        given = {word.arg for word in call.keywords}
        mode = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        binary = name in ("open", "fdopen") and any(set(m) <= set("rwxab+") and "b" in m for m in mode)
        opens = name in ("read_text", "write_text", "fdopen") or name == "open" and isinstance(call.func, ast.Name)
        writes = name == "write_text" or opens and any(set(m) <= set("wxat+") for m in mode)
        if opens and not binary and "encoding" not in given or name == "run" and "text" in given:
            found.append(call.lineno)
        elif newline and writes and "newline" not in given:
            found.append(call.lineno)
    return found


def test_text_has_the_same_encoding_and_line_ends_on_every_system():
    found = {
        str(path.relative_to(ROOT)): lines
        for path in code_files()
        if (lines := unspecified(path.read_text(encoding="utf-8"), newline=path.is_relative_to(ROOT / "dlmlab")))
    }
    assert not found, 'encoding="utf-8" (and newline="\\n" where dlmlab writes) is missing in these lines'


@pytest.mark.parametrize(
    "line, bad",
    [
        ("p.read_text()", True),
        ("p.write_text(text)", True),
        ("open(p)", True),
        ("os.fdopen(handle, 'w')", True),
        ("subprocess.run(x, text=True)", True),
        ("p.write_text(text, encoding='utf-8')", True),
        ("open(p, 'w', encoding='utf-8')", True),
        ("p.write_text(text, encoding='utf-8', newline='')", False),
        ("p.read_text(encoding='utf-8')", False),
        ("open(p, 'rb')", False),
        ("Image.open(p)", False),
    ],
)
def test_a_line_that_depends_on_the_system_is_found(line, bad):
    assert bool(unspecified(line, newline=True)) == bad
