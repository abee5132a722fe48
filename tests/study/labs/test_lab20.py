"""What lab 20 hides, plants, names and writes again."""

import random

import pytest

from dlmlab.study.labs import lab20_cores as cores
from dlmlab.study.labs import lab20_holes as holes
from dlmlab.task import constraints, tasks
from tests.tiny import one_thread  # noqa: F401 (a fixture)

PROBLEMS = tasks.load_split("test")
needs_solver = pytest.mark.skipif(bool(constraints.missing()), reason=constraints.missing() or "there")  # 2026-11


@pytest.mark.parametrize("kind", cores.PLANTED)
def test_a_planted_error_is_what_it_says(kind):
    rng, different = random.Random(0), 0
    for problem in PROBLEMS[:60]:
        text = cores.plant(problem, kind, rng)
        verdict = tasks.verify(problem.question, text)
        assert not verdict.clean and len(verdict.equations) == problem.steps
        false = sum(not e.right for e in verdict.equations)
        assert false == (0 if kind == "planted operand" else 1)
        different += verdict.answer != problem.answer
    assert (different == 0) == (kind == "planted result") and different in (0, *range(40, 61))


def test_the_parts_that_the_verifier_calls_wrong():
    problem = next(p for p in PROBLEMS if p.steps == 2)
    first = problem.solution.split()
    assert cores.faults(problem, problem.solution) == []
    assert cores.faults(problem, " ".join([*first[:-1], "0"])) == [2]


@needs_solver
def test_as_many_parts_are_chosen_as_are_named():
    some = cores.texts("planted result", 0, 12)
    named = [
        sorted({k for core in found for k in core}) for found in cores.contradictions("planted result", 0, 12, False)
    ]
    for arm in ("named", "random", "least sure"):
        found = cores.chosen(arm, 0, some, named)
        assert [len(parts) for parts in found] == [len(parts) for parts in named]
    for arm in ("named", "random", "least sure", "random, as sources"):
        first, after = (cores.chosen(name, 0, some, named) for name in (arm, f"{arm}, and after"))
        last = [len(constraints.parts(text)) - 1 for _, text, _ in some]
        assert after == [list(range(parts[0], end + 1)) for parts, end in zip(first, last, strict=True)]


@needs_solver
def test_controls_of_sources_touch_what_sources_touches():
    rows = [
        cores.run("planted operand", arm, 0, "threshold 0.9", size=10)
        for arm in ("sources", "random, as sources", "everything, as sources")
    ]
    assert len({row["found"] for row in rows}) == 1 and "1" in rows[0]["found"]
    assert rows[0]["masked"] == rows[1]["masked"]
    assert all([n > 0 for n in row["nfe"]] == [found == "1" for found in row["found"]] for row in rows)


@needs_solver
def test_what_stands_in_the_named_equation_decides_whether_a_lone_error_is_mended():
    row = cores.run("planted result", "named", 0, "threshold 0.9", size=12)
    assert [what == "the true one" for what in row["stands"]] == [right == "1" for right in row["clean"]]
    assert "stands" not in cores.run("planted operand", "named", 0, "threshold 0.9", size=4)


def test_the_share_of_wrong_answers_that_an_arm_mends():
    key = {"text": "one forward", "order": "threshold 0.9"}
    rows = [{"arm": "as it is", "correct": "10010"} | key, {"arm": "named", "correct": "01010"} | key]
    assert cores.mended(rows, "one forward", "named") == pytest.approx(1 / 3)


@needs_solver
def test_texts_without_a_contradiction_are_left_alone():
    as_it_is, named = (cores.run("planted operand", arm, 0, "threshold 0.9", size=10) for arm in ("as it is", "named"))
    assert as_it_is["clean"] == named["clean"] and "1" not in named["found"] and not any(named["nfe"])


@needs_solver
def test_what_is_hidden_matters_and_does_not_depend_on_how_many_are_asked():
    few = holes.hidden(1, 6)
    assert few == holes.hidden(1, 9)[:6]
    assert all(holes.matters(question, problem.answer) for problem, question in few)
    assert [len(some) for some in holes.allowed(1, 6, True)] == [1] * 6


def test_guesses_are_probabilities_of_numbers():
    p = holes.guesses([question for _, question in holes.hidden(0, 4)])
    assert p.shape == (4, 100) and bool((p >= 0).all()) and bool((p.sum(1) <= 1 + 1e-5).all())


@needs_solver
def test_only_the_place_of_the_answer_is_given():
    correct = holes.run("place given", 2, size=6)["correct"]
    assert len(correct) == 6 and set(correct) <= {"0", "1"}
