"""Checks let right answers pass and name the mistake in wrong ones; the scoreboard says whose function was used."""

import ast
import inspect
import itertools
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import dlmlab as dl
from dlmlab.course import checks, exercises
from dlmlab.decode import commit
from tests.mutants import ANSWERS

ROOT = Path(__file__).resolve().parents[2]
IDS = list(exercises.registry())
WRONG = [
    pytest.param(id, fn, words, id=f"{id}-{fn.__name__}") for id in IDS for fn, words in ANSWERS[id].MUTANTS.items()
]
RIGHT = [pytest.param(id, fn, id=f"{id}-{fn.__name__}") for id in IDS for fn in ANSWERS[id].RIGHT]


@pytest.fixture(autouse=True)
def new_kernel(monkeypatch):
    """Give every test a scoreboard of its own."""
    monkeypatch.setattr(exercises, "_PROGRESS", {})


def stub(id):
    """Run the stub of an exercise as a notebook cell would, and return its function."""
    names = {"torch": torch, "Tensor": torch.Tensor, "dl": dl}
    exec(exercises.stub(id), names)
    return names[exercises.registry()[id].path.split(".")[-1]]


def course(id):
    return exercises.registry()[id].course()


def copy_of_course(id):
    """Answer as a reader would who writes just what the course has."""
    return lambda *args, **options: course(id)(*args, **options)


@pytest.mark.parametrize("id", IDS)
def test_a_stub_is_not_yet_an_answer(id, capsys):
    fn = stub(id)
    assert exercises.check(id, fn) is False
    assert capsys.readouterr().out == f"{id}: not yet (NotImplementedError)\n"
    assert exercises.use(id, fn) is course(id)
    expected = f'{id}: not yet (NotImplementedError); the course\'s version is used below, the scoreboard says "open"\n'
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("id", IDS)
def test_the_stub_has_the_parameters_of_the_course_function(id):
    wanted, own = inspect.signature(stub(id)).parameters, inspect.signature(course(id)).parameters
    for (name, p), (own_name, q) in zip(wanted.items(), own.items(), strict=False):
        assert (name, p.kind, p.default) == (own_name, q.kind, q.default)
    more = list(own.values())[len(wanted) :]
    assert all(p.kind == p.KEYWORD_ONLY and p.default is not p.empty for p in more), "an exercise may leave out options"
    assert stub(id).__doc__ and "NotImplementedError" in exercises.stub(id)


@pytest.mark.parametrize("id, fn, words", WRONG)
def test_a_wrong_answer_fails_and_its_mistake_is_named(id, fn, words, capsys):
    assert exercises.check(id, fn) is False
    first = capsys.readouterr().out
    assert words in first
    assert first.startswith(f"{id}: not yet: ") and first.count("\n") == 1
    torch.rand(3)  # the global generator moves on; the message may not
    state = torch.get_rng_state()
    exercises.check(id, fn)
    assert capsys.readouterr().out == first
    assert torch.equal(torch.get_rng_state(), state), "a check leaves the global generator as it found it"


@pytest.mark.parametrize("id", IDS)
def test_every_check_is_proven_on_four_mistakes_or_more(id):
    assert len(ANSWERS[id].MUTANTS) >= 4
    assert len(ANSWERS[id].RIGHT) >= 2


@pytest.mark.parametrize("id, fn", RIGHT)
def test_a_right_answer_passes_however_it_is_written(id, fn, capsys):
    assert exercises.check(id, fn) is True, capsys.readouterr().out


@pytest.mark.parametrize("id", IDS)
def test_the_course_function_passes_but_is_not_yours(id, capsys):
    assert exercises.check(id, course(id)) is True
    assert capsys.readouterr().out == f"{id}: passed\n"
    assert exercises.use(id, course(id)) is course(id)
    assert exercises.scoreboard(id.split(".")[0].zfill(2)).count(exercises.COURSE) == 1


@pytest.mark.parametrize("id", IDS)
def test_use_returns_your_function_once_it_passes(id, capsys):
    fn = copy_of_course(id)
    assert exercises.use(id, fn) is fn
    assert capsys.readouterr().out == f"{id}: passed; your function is used below\n"
    wrong = next(iter(ANSWERS[id].MUTANTS))
    assert exercises.use(id, wrong) is course(id)
    assert capsys.readouterr().out.endswith(
        "the course's version is used below, the scoreboard says \"course's version\"\n"
    )


@pytest.mark.parametrize("call", [exercises.check, exercises.use])
@pytest.mark.parametrize("error", [ZeroDivisionError, TypeError, KeyboardInterrupt, RuntimeError])
def test_other_errors_show_their_trace(call, error):
    def crashes(masks, steps):
        raise error

    with pytest.raises(error):
        call("1.2", crashes)
    assert "yours: 0 of 5" in exercises.scoreboard("01")


def test_a_message_of_many_lines_is_printed_in_one(capsys):
    def asserts(masks, steps):
        raise AssertionError("first\n   second")

    def stops(masks, steps):
        raise NotImplementedError("later")

    def asserts_silently(masks, steps):
        raise AssertionError

    for fn in (asserts, stops, asserts_silently):
        exercises.check("1.2", fn)
    assert capsys.readouterr().out.splitlines() == [
        "1.2: not yet: first second",
        "1.2: not yet (NotImplementedError: later)",
        "1.2: not yet: an assert without a message failed",
    ]


def test_the_scoreboard_says_whose_function_was_used():
    exercises.use("1.1", stub("1.1"))
    exercises.use("1.2", copy_of_course("1.2"))
    exercises.use("1.3", next(iter(ANSWERS["1.3"].MUTANTS)))
    exercises.solution("1.4")
    exercises.solution("1.5")
    exercises.use("1.5", copy_of_course("1.5"))
    assert repr(exercises.scoreboard("01")) == (
        "id   title                       difficulty  minutes  state\n"
        "1.1  Hide tokens at time t       ●●○○○            10  open\n"
        "1.2  Share masks among steps     ●○○○○             5  yours\n"
        "1.3  Sample with Gumbel noise    ●●●○○            15  course's version\n"
        "1.4  Commit what is sure enough  ●●●○○            15  solution seen\n"
        "1.5  Guide with a blind pass     ●●●○○            15  yours, solution seen\n"
        "yours: 1 of 5"
    )


def test_the_last_call_counts():
    exercises.use("1.2", copy_of_course("1.2"))
    assert "yours: 1 of 5" in exercises.scoreboard("01")
    exercises.use("1.2", stub("1.2"))
    assert "yours: 0 of 5" in exercises.scoreboard("01")


def test_reading_the_solution_after_passing_costs_nothing():
    exercises.use("0.1", copy_of_course("0.1"))
    exercises.solution("0.1")
    assert "yours: 1 of 1" in exercises.scoreboard("00")


def test_the_scoreboard_shows_one_notebook_or_all():
    assert [line.split()[0] for line in exercises.scoreboard().splitlines()[1:-1]] == IDS
    assert [line.split()[0] for line in exercises.scoreboard("00").splitlines()[1:-1]] == ["0.1"]
    with pytest.raises(ValueError, match="'99' has no exercises; known: 00, 01"):
        exercises.scoreboard("99")


@pytest.mark.parametrize("id", IDS)
def test_the_solution_is_the_source_of_the_package_function(id):
    shown = exercises.solution(id)
    assert inspect.getsource(course(id)) in shown
    assert shown.startswith(f"# {exercises.registry()[id].path}\n")
    assert repr(shown) == str(shown)
    assert shown._repr_markdown_() == f"```python\n{shown}```"


@pytest.mark.parametrize("call", [exercises.solution, exercises.stub, exercises.hint])
def test_an_unknown_id_lists_the_known_ones(call):
    with pytest.raises(ValueError, match="'7.7' is unknown; known: 0.1, 1.1, 1.2, 1.3, 1.4, 1.5"):
        call("7.7")


@pytest.mark.parametrize("call", [exercises.check, exercises.use])
def test_an_unknown_id_runs_nothing(call):
    with pytest.raises(ValueError, match="'7.7' is unknown"):
        call("7.7", lambda: pytest.fail("the function was called"))


@pytest.mark.parametrize("id", IDS)
def test_every_exercise_is_complete(id):
    e = exercises.registry()[id]
    assert e.title and e.objective.endswith(".") and e.minutes > 0 and 1 <= e.difficulty <= 5
    most = len(e.hints)
    assert 2 <= most <= 3
    assert exercises.hint(id, most) == f"Hint {most} of {most}. {e.hints[-1]}"
    for n in (0, most + 1):
        with pytest.raises(ValueError, match=f"hints 1 to {most}"):
            exercises.hint(id, n)


def test_ids_are_unique():
    assert len(checks.EXERCISES) == len(IDS)


@pytest.mark.parametrize("id", IDS)
def test_a_check_knows_nothing_of_the_course_function(id):
    """A check that called it could be passed by handing it in, and would hide its bugs."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(exercises.registry()[id].check)))
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    imported |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    assert imported <= {"collections.abc", "torch", "dlmlab.course.checks.expect", "dlmlab.course.exercises"}
    calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert not {c for c in calls if c.endswith(".course") or "import" in c}


@pytest.mark.parametrize("id", IDS)
def test_a_check_takes_less_than_a_second_of_one_core(id):
    exercises.check(id, course(id))  # the first call may import
    start = time.process_time()
    exercises.check(id, course(id))
    assert time.process_time() - start < 2, "two threads may each count one second"


def test_the_exercise_and_the_rule_of_the_sampler_are_one_function():
    """Exercise 1.4 is about what `Threshold` does."""
    score, eligible = torch.tensor([[0.9, 0.2, 0.5]]), torch.tensor([[True, True, False]])
    candidates = commit.Candidates(score, eligible, score, torch.ones(1, 3, 1), torch.ones(1, dtype=torch.long))
    for tau in (0.1, 0.9, 1.0):
        assert torch.equal(commit.Threshold(tau)(candidates), commit.threshold_commit(score, eligible, tau))


def nudged(value, *, by):
    """Move every float in a result by `by` units in the last place, as another processor might; 0, inf and NaN stay."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        toward = torch.full_like(value, math.copysign(math.inf, by))
        moved = value
        for _ in range(abs(by)):
            moved = moved.nextafter(toward)
        return torch.where((value == 0) | ~value.isfinite(), value, moved)
    if isinstance(value, float):
        return nudged(torch.tensor(value, dtype=torch.float64), by=by).item()
    return type(value)(nudged(v, by=by) for v in value) if isinstance(value, list | tuple) else value


def on_another_processor(fn, *, by):
    """Answer like `fn`, every number a little above or below in turn."""
    calls = itertools.count()
    return lambda *args, **options: nudged(fn(*args, **options), by=by * (-1) ** next(calls))


@pytest.mark.parametrize("by", [-2, 1])
@pytest.mark.parametrize("id", IDS)
def test_rounding_does_not_change_what_a_check_says(id, by, capsys):
    """The last bit of a root, a sum or a product differs between processors; neither verdict nor hint may."""
    for fn in (course(id), *ANSWERS[id].RIGHT):
        assert exercises.check(id, on_another_processor(fn, by=by)), capsys.readouterr().out
    for fn, words in ANSWERS[id].MUTANTS.items():
        assert not exercises.check(id, on_another_processor(fn, by=by)), fn.__name__
        assert words in capsys.readouterr().out, fn.__name__


def test_the_package_holds_no_assert_statement():
    """`python -O` leaves them out, and a check that rests on one passes every wrong answer."""
    files = sorted((ROOT / "dlmlab").rglob("*.py"))
    nodes = [(path, node) for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    assert files and [f"{path}:{node.lineno}" for path, node in nodes if isinstance(node, ast.Assert)] == []


def test_checks_refuse_wrong_answers_when_python_leaves_asserts_out():
    program = """if True:
        from dlmlab.course.exercises import check
        from tests.mutants import ANSWERS
        for id, answers in ANSWERS.items():
            for fn in (lambda *args, **options: None, next(iter(answers.MUTANTS))):
                print("refused" if not check(id, fn) else "ACCEPTED")
    """
    run = subprocess.run([sys.executable, "-O", "-c", program], cwd=ROOT, capture_output=True, encoding="utf-8")
    verdicts = [line for line in run.stdout.splitlines() if line in ("refused", "ACCEPTED")]
    assert verdicts == ["refused"] * 2 * len(IDS), run.stdout + run.stderr
