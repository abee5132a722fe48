"""The ways to get the course onto a machine: `make`, `pip install .`, a clone by Git for Windows."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from dlmlab import paths
from dlmlab.course import manifest

ROOT = Path(__file__).resolve().parents[1]


def run(*command: object, cwd: Path, **environ: str) -> subprocess.CompletedProcess:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environ
    command = [str(part) for part in command]
    return subprocess.run(
        command, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False
    )


# ------------------------------------------------------------------------------------------------ make

# A Python whose venv costs nothing: its pip writes down where it was called, as an editable install does. The path
# stands in a module, because Python reads a .pth file in the encoding of the locale.
FAKE_PYTHON = """#!/bin/sh
case "$*" in *"import ensurepip"*) exit {no_ensurepip};; esac
[ "$1 $2" = "-m venv" ] || exec {python} "$@"
{python} -m venv --without-pip "$3" || exit
site=$(echo "$3"/lib/python*/site-packages)
mkdir "$site/pip" && touch "$site/pip/__init__.py" && cp "{fake_pip}" "$site/pip/__main__.py"
echo "#!$(pwd -P)/$3/bin/python" > "$3/bin/pip"
"""
FAKE_PIP = """import os, pathlib
site = pathlib.Path(__file__).parents[1]
site.joinpath("course.pth").write_text("import course", encoding="utf-8")
site.joinpath("course.py").write_text(f"import sys; sys.path.append({os.getcwd()!r})", encoding="utf-8")
"""
needs_make = pytest.mark.skipif(os.name == "nt" or not shutil.which("make"), reason="there is no make here")


@pytest.fixture
def course(tmp_path) -> Path:
    """Give a checkout in small: what `make` looks at, and a Python without and one with `ensurepip` beside it."""
    root = tmp_path / "course"
    (root / "dlmlab").mkdir(parents=True)
    (root / "dlmlab/__init__.py").touch()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    (tmp_path / "pip.py").write_text(FAKE_PIP, encoding="utf-8")
    for name, code in (("python", 0), ("bare-python", 1)):
        text = FAKE_PYTHON.format(python=sys.executable, fake_pip=tmp_path / "pip.py", no_ensurepip=code)
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return root


def make(root: Path, python: str = "python") -> str:
    """Install with make; give what it printed, with its exit status in front unless that is 0."""
    done = run("make", f"PYTHON=../{python}", ".venv/.installed", cwd=root)
    return f"status {done.returncode}\n" * (done.returncode != 0) + done.stdout


def package_of(root: Path) -> str:
    """Say which package the environment imports, asked from another folder as the kernels of the notebooks do."""
    done = run(root / ".venv/bin/python", "-c", "import dlmlab; print(dlmlab.__file__)", cwd=root.parent)
    return done.stdout.strip()


def interrupt(root: Path) -> None:
    shutil.rmtree(root / ".venv/bin")
    (root / ".venv/.installed").unlink()


def lose_pip(root: Path) -> None:
    [pip] = (root / ".venv/lib").glob("python*/site-packages/pip")
    shutil.rmtree(pip)


def lose_python(root: Path) -> None:
    (root / ".venv/bin/python").unlink()
    (root / ".venv/bin/python").symlink_to("/nowhere/python3.11")


@needs_make
def test_make_installs_once(course):
    assert "Installing" in make(course)
    assert "Installing" not in make(course)
    assert package_of(course) == str(course / "dlmlab/__init__.py")


@needs_make
@pytest.mark.parametrize("damage", [interrupt, lose_pip, lose_python])
def test_make_builds_a_damaged_environment_anew(course, damage):
    make(course)
    (course / ".venv/old").touch()
    damage(course)
    assert "Installing" in make(course)
    assert not (course / ".venv/old").exists() and package_of(course) == str(course / "dlmlab/__init__.py")
    assert "Installing" not in make(course)


@needs_make
@pytest.mark.parametrize("name", ["moved", "é b, (kurs)"])
def test_make_notices_that_the_checkout_was_moved(course, name):
    make(course)
    moved = course.rename(course.parent / name)
    assert "Installing" in make(moved)
    assert package_of(moved) == str(moved / "dlmlab/__init__.py")
    assert str(moved) in (moved / ".venv/bin/pip").read_text(encoding="utf-8")
    assert "Installing" not in make(moved)


@needs_make
def test_make_installs_again_when_the_environment_imports_another_checkout(course):
    make(course)
    other = shutil.copytree(course, course.parent / "other", ignore=shutil.ignore_patterns(".venv"))
    [link] = (course / ".venv/lib").glob("python*/site-packages/course.py")
    link.write_text(f"import sys; sys.path.append({str(other)!r})", encoding="utf-8")
    (course / ".venv/old").touch()
    assert "Installing" in make(course)
    assert (course / ".venv/old").exists(), "this environment can be used: nothing need be downloaded again"
    assert package_of(course) == str(course / "dlmlab/__init__.py")


@needs_make
def test_make_says_what_debian_lacks_and_goes_on_when_it_is_there(course):
    said = make(course, "bare-python")
    assert said.startswith("status 2") and "apt install python3-venv" in said
    assert not (course / ".venv").exists()
    assert "Installing" in make(course) and package_of(course)


# ------------------------------------------------------------------------------------------------ pip install .


@pytest.fixture
def elsewhere(tmp_path_factory) -> Path:
    """Install the wheel into a fresh venv far from the checkout; the libraries are borrowed from this interpreter."""
    folder = tmp_path_factory.mktemp("pip install")
    source = folder / "source"  # setuptools writes build/ beside the code it builds
    for name in ("dlmlab", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "LICENSE-docs.md"):
        shutil.copy(ROOT / name, source)
    pip, offline = (sys.executable, "-m", "pip"), ("--no-deps", "--no-index", "--quiet")
    built = run(*pip, "wheel", "--no-build-isolation", *offline, "-w", folder, source, cwd=folder)
    assert built.returncode == 0, built.stdout
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = next(p for scripts in ("bin", "Scripts") for p in (folder / "venv" / scripts).glob("python*"))
    [wheel] = folder.glob("*.whl")
    put = run(*pip, "--python", python, "install", *offline, "--no-compile", wheel, cwd=folder)
    assert put.returncode == 0, put.stdout
    site = sysconfig.get_path("purelib", vars={"base": str(folder / "venv"), "platbase": str(folder / "venv")})
    Path(site, "borrowed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    shutil.rmtree(source)
    return python


ANSWER = """
import pathlib, sys
import dlmlab as dl
assert pathlib.Path(dl.__file__).is_relative_to(sys.prefix), dl.__file__
model, tokenizer = dl.load("llada-mini")
problem = dl.tasks.load_split("test")[0]
prompt = dl.layout.encode_prompt(tokenizer, problem.question)
out = dl.sampling.sample(model, [prompt], gen_length=40, sampler=dl.Sampler(commit=dl.Threshold(0.9)))
answer = dl.layout.decode_answer(tokenizer, out.answers[0])
assert dl.tasks.verify(problem.question, answer).correct, answer
assert dl.ledger.load() and dl.bench.read() and dl.speedrun.read() and dl.store.read("01_sampling")
from dlmlab import cli
print("refused", cli.main(["refresh"]), flush=True)
"""


def test_an_installed_copy_answers_a_problem_and_does_not_refresh_itself(elsewhere, tmp_path):
    done = run(elsewhere, "-c", ANSWER, cwd=tmp_path)
    error, refused = done.stdout.splitlines()[-2:]
    assert error.startswith("dlmlab refresh: ") and "checkout" in error and refused == "refused 2", done.stdout
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------ git


@pytest.fixture
def windows_clone(tmp_path) -> Path:
    """Clone HEAD with the setting that Git for Windows installs."""
    if not shutil.which("git") or run("git", "rev-parse", "HEAD", cwd=ROOT).returncode:
        pytest.skip("this is no git checkout")
    done = run("git", "clone", "-q", "-c", "core.autocrlf=true", ROOT, tmp_path / "clone", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    return tmp_path / "clone"


def test_a_clone_by_git_for_windows_has_the_checksums(windows_clone):
    data = windows_clone / "data"
    stored = json.loads((data / "MANIFEST.json").read_text(encoding="utf-8"))
    assert manifest.entries(data) == stored


def test_every_notebook_under_git_is_one_of_the_course(windows_clone):
    tracked = {path.name for path in (windows_clone / "notebooks").glob("*.ipynb")}
    assert {path.name for path in paths.notebooks(windows_clone)} == tracked
