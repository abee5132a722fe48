"""What a class gets: student copies without solutions, solutions that pass, assignments that nbgrader grades."""

import ast
import copy
import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from dlmlab import cli, paths
from dlmlab.course import exercises, release
from tests.mutants import ANSWERS

NOTEBOOKS = paths.notebooks(Path(__file__).resolve().parents[2])
HEAD = "import math\nfrom collections.abc import Callable, Sequence\nimport numpy as np\nimport torch\n"
HEAD += "from torch import Tensor\nimport dlmlab as dl\n"


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def function(source: str):
    """Run source as a notebook would and return the function that it defines."""
    names = {}
    exec(compile(HEAD + source, "<cell>", "exec"), names)
    return names[ast.parse(source).body[-1].name]


def used() -> list[exercises.Exercise]:
    return [exercise for path in NOTEBOOKS for _, exercise, _, _ in release.stubs(read(path))]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_student_copy_is_the_notebook_without_outputs_and_without_solutions(path):
    source = read(path)
    before = copy.deepcopy(source)
    made = release.student(source)
    assert source == before and [c.source for c in made.cells] == [c.source for c in source.cells]
    assert not any(c.outputs or c.execution_count for c in made.cells if c.cell_type == "code")
    assert release.leaks(made) == []
    nbformat.validate(made)


@pytest.mark.parametrize("exercise", used(), ids=lambda e: e.id)
def test_the_solution_of_a_copy_passes_where_the_stub_does_not_and_under_other_inputs_too(exercise):
    fn = function(release.answer(exercise))
    for shift in (0, *release.SHIFTS):
        exercises.grade(exercise.id, fn, shift=shift)
    with pytest.raises(AssertionError):
        exercises.grade(exercise.id, function(exercise.stub))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_assignment_has_an_answer_and_a_test_for_each_exercise_and_locks_the_rest(path):
    made, ids = release.assignment(read(path)), [e.id for _, e, _, _ in release.stubs(read(path))]
    nbformat.validate(made)
    marks = [c.metadata["nbgrader"] for c in made.cells if c.cell_type == "code"]
    assert len({m["grade_id"] for m in marks}) == len(marks) and len({c.id for c in made.cells}) == len(made.cells)
    assert [m["grade_id"] for m in marks if m["solution"]] == [f"answer-{id.replace('.', '-')}" for id in ids]
    points = {m["grade_id"]: m["points"] for m in marks if m["grade"]}
    assert points == {f"test-{id.replace('.', '-')}": exercises.registry()[id].difficulty for id in ids}
    assert all(m["locked"] != m["solution"] for m in marks)
    for first, second in zip(made.cells, made.cells[1:], strict=False):
        if first.metadata.get("nbgrader", {}).get("solution"):
            assert second.metadata["nbgrader"]["grade"] and release.HIDDEN_BEGIN in second.source
            body = first.source.split(release.BEGIN)[1].split(release.END)[0]
            assert body.strip() and "NotImplementedError" not in first.source


def test_a_solution_in_a_notebook_is_a_leak(tmp_path, monkeypatch):
    path = next(path for path in NOTEBOOKS if path.name.startswith("01"))
    solved = release.solved(read(path))
    assert set(release.leaks(solved)) >= {"1.1", "1.2", "1.4"}
    nbformat.write(solved, tmp_path / path.name)
    monkeypatch.setattr(release.paths, "notebooks", lambda root: [tmp_path / path.name])
    with pytest.raises(ValueError, match="01_sampling.ipynb holds the solution of 1.1"):
        release.write(tmp_path / "out")


def test_the_command_writes_three_kinds_and_refuses_what_would_mix(tmp_path, capsys):
    out = tmp_path / "class"
    assert cli.main(["release", "--out", str(out), "--notebook", "00"]) == 0
    assert "3 notebooks" in capsys.readouterr().out
    files = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.ipynb"))
    name = "00_start_here"
    assert files == [f"nbgrader/source/{name}/{name}.ipynb", f"solution/{name}.ipynb", f"student/{name}.ipynb"]
    assert cli.main(["release", "--out", str(out)]) != 0
    assert "is not empty" in capsys.readouterr().err
    assert cli.main(["release", "--out", str(tmp_path / "b"), "--notebook", "77"]) != 0
    assert "'77'" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ nbgrader itself


def run(folder: Path, *arguments: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader calls alembic by name
    env = os.environ | {"JUPYTER_CONFIG_DIR": str(folder / "config"), "PATH": path}
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments], cwd=folder, env=env, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr[-3000:]


def wrong(exercise: exercises.Exercise) -> str:
    """Give the source of a mutant under the name of the exercise's function, the first that stands on its own; else of
    one that returns nothing."""
    name = ast.parse(exercise.stub).body[-1].name
    for mutant in ANSWERS[exercise.id].MUTANTS:
        try:
            source = textwrap.dedent(inspect.getsource(mutant)).replace(f"def {mutant.__name__}(", f"def {name}(", 1)
            exercises.grade(exercise.id, function(source))
        except AssertionError:
            return source
        except Exception:  # a partial, a lambda, a mutant that needs a helper of its module
            continue
    return exercise.stub.replace("raise NotImplementedError", "return None")


def short(made: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Keep what is graded, what stands before it in its cell, and the first code cell, which imports and loads."""
    first = next(cell for cell in made.cells if cell.cell_type == "code")
    marked = [(c, c.metadata.get("nbgrader", {})) for c in made.cells]
    graded = [c for c, m in marked if m.get("points") or m.get("solution") or c.id.endswith("-before")]
    made.cells = [first, *(cell for cell in graded if cell is not first)]
    return made


@pytest.mark.skipif(os.environ.get("DLMLAB_TEST_ALL") != "1", reason="minutes; `make test-all` runs it")
def test_nbgrader_gives_nothing_for_stubs_and_mutants_and_all_points_for_the_solution(tmp_path):
    name, source = "01_sampling", next(path for path in NOTEBOOKS if path.name.startswith("01"))
    place = tmp_path / "source" / name / source.name
    place.parent.mkdir(parents=True)
    nbformat.write(short(release.assignment(read(source))), place)
    (tmp_path / "nbgrader_config.py").write_text(release.CONFIG, encoding="utf-8")
    run(tmp_path, "generate_assignment", name)
    released = read(tmp_path / "release" / name / source.name)
    text = "\n".join(cell.source for cell in released.cells)
    assert "SOLUTION" not in text and "HIDDEN" not in text and "shift=" not in text
    assert release.leaks(released) == []
    ids = [e.id for _, e, _, _ in release.stubs(read(source))]
    mutated = {id: wrong(exercises.registry()[id]) for id in ids}
    right = {id: release.answer(exercises.registry()[id]) for id in ids}
    for student, answers in {"empty": {}, "wrong": mutated, "right": right}.items():
        handed = tmp_path / "submitted" / student / name
        handed.mkdir(parents=True)
        done = copy.deepcopy(released)
        for cell in done.cells:
            mark = cell.metadata.get("nbgrader", {})
            if mark.get("solution") and (
                new := answers.get(mark["grade_id"].removeprefix("answer-").replace("-", "."))
            ):
                cell.source = new
        nbformat.write(done, handed / source.name)
    run(tmp_path, "autograde", name)
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as book:
        scores = {s: book.find_submission(name, s) for s in ("empty", "wrong", "right")}
        total = sum(exercises.registry()[id].difficulty for id in ids)
        assert {s: (found.score, found.max_score) for s, found in scores.items()} == {
            "empty": (0, total),
            "wrong": (0, total),
            "right": (total, total),
        }
