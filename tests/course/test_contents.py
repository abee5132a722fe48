"""README's columns say what the notebooks hold, and every exercise has one place."""

import pytest

from dlmlab import paths
from dlmlab.course import contents, predictions
from dlmlab.course.exercises import registry

ROOT = paths.checkout()
SOURCES = {path.name[:2]: contents.code(path) for path in paths.notebooks(ROOT)}
ONE, TWO = 'f = dl.exercises.use("1.1", f)', 'g = dl.exercises.use(\n    "2.1", g)'


def test_every_exercise_stands_in_exactly_one_notebook_its_own():
    assert SOURCES and contents.misplaced(SOURCES, [*registry(), *predictions.registry()]) == []


@pytest.mark.parametrize(
    "sources, problem",
    [
        ({"01": ONE, "02": ""}, "exercise 2.1 is used 0 times"),
        ({"01": ONE + "\n" + ONE, "02": TWO}, "exercise 1.1 is used 2 times"),
        ({"01": TWO, "02": ONE}, "notebook 01 uses exercise 2.1 of another"),
        (
            {"01": ONE, "02": TWO + 'dl.predictions.predict("2.9", None)'},
            "notebook 02 uses exercise 2.9, which is unkn",
        ),
        ({"01": ONE, "02": TWO + ONE.replace("1.1", "2.7")}, "notebook 02 uses exercise 2.7, which is unknown"),
    ],
)
def test_a_misplaced_exercise_is_named(sources, problem):
    assert contents.misplaced({"01": ONE, "02": TWO}, ["1.1", "2.1"]) == []
    assert any(problem in found for found in contents.misplaced(sources, ["1.1", "2.1"]))


def test_a_module_is_introduced_where_its_exercises_are_else_where_it_is_called_first():
    sources = {
        "00": "dl.Sampler(); dl.training.Run; dl.plotting.show; dl.store.read; dl.nothing",
        "01": "dl.training.Run; dl.sinks.received; dl.tasks.solve",
    }
    assert contents.introduced(sources, {}) == {"00": ["training", "sampling"], "01": ["tasks", "sinks"]}
    assert contents.introduced({"05": "dl.gptq.gptq; dl.compress.registry"}, {})["05"] == ["gptq"]  # of a package
    assert contents.introduced(sources, {"sampling": "01", "kv": "01"})["01"] == ["tasks", "kv", "sampling", "sinks"]


def test_lines_are_counted_with_and_without_rooms():
    files = [path for path in paths.PACKAGE.rglob("*.py")]
    assert contents.lines() == sum(path.read_text(encoding="utf-8").count("\n") for path in files)
    assert 0 < contents.lines("study", "course") < contents.lines("study") < contents.lines()


def test_a_notebook_without_exercises_has_an_empty_column(tmp_path):
    import nbformat.v4 as v4

    (tmp_path / "notebooks").mkdir()
    nb = v4.new_notebook(cells=[v4.new_code_cell("dl.kv"), v4.new_markdown_cell("dl.priors")])
    (tmp_path / "notebooks" / "99_new.ipynb").write_text(contents.nbformat.writes(nb), encoding="utf-8")
    found = contents.facts(tmp_path)
    assert found["exercises:99"] == "" and found["modules:99"] == ""  # kv has its exercise in 08
    assert contents.facts()["exercises:01"] == "1.1 to 1.8" and contents.facts()["exercises:00"] == "0.1"


@pytest.mark.parametrize("number", SOURCES)
def test_the_scoreboard_comes_after_every_exercise(number):
    """Under the tests it refuses an exercise whose function nothing called before (`exercises.unused`)."""
    if contents.USE.search(SOURCES[number]):
        lines = SOURCES[number].splitlines()
        last = max(i for i, line in enumerate(lines) if contents.USE.search(line))
        assert f'dl.exercises.scoreboard("{number}")' in lines[last + 1 :]
