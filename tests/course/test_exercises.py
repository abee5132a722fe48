"""Checks let right answers pass and name the mistake in wrong ones; the scoreboard says whose function was used."""

import ast
import inspect
import itertools
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import dlmlab as dl
from dlmlab.course import checks, exercises, grading, predictions
from dlmlab.decode import commit
from tests.mutants import ANSWERS

ROOT = Path(__file__).resolve().parents[2]
IDS = list(exercises.registry())
WRONG = [
    pytest.param(id, fn, words, id=f"{id}-{fn.__name__}") for id in IDS for fn, words in ANSWERS[id].MUTANTS.items()
]
RIGHT = [pytest.param(id, fn, id=f"{id}-{fn.__name__}") for id in IDS for fn in ANSWERS[id].RIGHT]


RANDOM = {"1.1", "1.3", "1.8", "2.4"}  # their results differ from draw to draw
WRITE = [id for id in IDS if exercises.registry()[id].kind == "write"]


@pytest.fixture(autouse=True)
def new_kernel(monkeypatch):
    """Give every test a scoreboard of its own."""
    monkeypatch.setattr(exercises, "_PROGRESS", {})
    monkeypatch.setattr(predictions, "_MADE", {})
    monkeypatch.delenv("DLMLAB_STRICT_EXERCISES", raising=False)


def stub(id):
    """Run the stub of an exercise as a notebook cell would, and return its function."""
    names = {"torch": torch, "Tensor": torch.Tensor, "np": np, "dl": dl, "Callable": Callable, "Sequence": Sequence}
    exec(exercises.stub(id), names)
    return names[exercises.registry()[id].path.split(".")[-1]]


def course(id):
    return exercises.registry()[id].course()


def copy_of_course(id):
    """Answer as a reader would who writes just what the course has."""
    return lambda *args, **options: course(id)(*args, **options)


@pytest.mark.parametrize("id", WRITE)
def test_a_stub_is_not_yet_an_answer(id, capsys):
    fn = stub(id)
    assert exercises.check(id, fn) is False
    assert capsys.readouterr().out == f"{id}: not yet (NotImplementedError)\n"
    assert exercises.use(id, fn).__wrapped__ is course(id)
    expected = f'{id}: not yet (NotImplementedError); the course\'s version is used below, the scoreboard says "open"\n'
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("id", [id for id in IDS if id not in WRITE])
def test_code_with_a_bug_is_open_until_it_is_changed(id, capsys):
    fn = stub(id)
    assert exercises.use(id, fn).__wrapped__ is course(id)
    out = capsys.readouterr().out
    assert out.startswith(f"{id}: not yet: nothing is changed yet; ") and out.endswith('says "open"\n')
    exercises.use(id, next(iter(ANSWERS[id].MUTANTS)))
    assert exercises._progress(id).status == exercises.COURSE


@pytest.mark.parametrize("id", IDS)
def test_the_stub_has_the_parameters_of_the_course_function(id):
    wanted, own = inspect.signature(stub(id)).parameters, inspect.signature(course(id)).parameters
    for (name, p), (own_name, q) in zip(wanted.items(), own.items(), strict=False):
        assert (name, p.kind, p.default) == (own_name, q.kind, q.default)
    more = list(own.values())[len(wanted) :]
    assert all(p.kind == p.KEYWORD_ONLY and p.default is not p.empty for p in more), "an exercise may leave out options"
    assert stub(id).__doc__ and ("NotImplementedError" in exercises.stub(id)) == (id in WRITE)


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
def test_every_check_is_proven_on_eight_mistakes_or_more(id):
    assert len(ANSWERS[id].MUTANTS) >= 8
    assert len(ANSWERS[id].RIGHT) >= 2


@pytest.mark.parametrize("id, fn", RIGHT)
def test_a_right_answer_passes_however_it_is_written(id, fn, capsys):
    assert exercises.check(id, fn) is True, capsys.readouterr().out


@pytest.mark.parametrize("id", IDS)
def test_the_course_function_passes_but_is_not_yours(id, capsys):
    assert exercises.check(id, course(id)) is True
    assert capsys.readouterr().out == f"{id}: passed\n"
    assert exercises.use(id, course(id)).__wrapped__ is course(id)
    assert exercises.scoreboard(id.split(".")[0].zfill(2)).count(exercises.COURSE) == 1


@pytest.mark.parametrize("id", IDS)
def test_use_returns_your_function_once_it_passes(id, capsys):
    fn = copy_of_course(id)
    assert exercises.use(id, fn).__wrapped__ is fn
    assert capsys.readouterr().out == f"{id}: passed; your function is used below\n"
    wrong = next(iter(ANSWERS[id].MUTANTS))
    assert exercises.use(id, wrong).__wrapped__ is course(id)
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
    assert "yours: 0 of" in exercises.scoreboard("01")


def line(fn):
    """Name the second line of a function as a message quotes it."""
    source, first = inspect.getsourcelines(fn)
    return f"line {first + 1}, `{source[1].strip()}`"


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
        "1.2: not yet: an assert of your own fails, " + line(asserts) + ": first second",
        "1.2: not yet: " + line(stops) + " raises NotImplementedError: later",
        "1.2: not yet: an assert of your own fails, " + line(asserts_silently),
    ]


def row(board, id):
    return next(line for line in board.splitlines() if line.startswith(f"{id} "))


def test_the_scoreboard_says_whose_function_was_used():
    exercises.use("1.1", stub("1.1"))
    exercises.use("1.2", copy_of_course("1.2"))
    exercises.use("1.3", next(iter(ANSWERS["1.3"].MUTANTS)))
    exercises.solution("1.4")
    exercises.solution("1.5")
    exercises.use("1.5", copy_of_course("1.5"))
    board = exercises.scoreboard("01")
    assert repr(board) == str(board)
    title = exercises.registry()["1.2"].title
    assert row(board, "1.2").split("  ") == ["1.2", *row(board, "1.2").split("  ")[1:]]
    assert row(board, "1.2").startswith(f"1.2  {title} ") and "●○○○○" in row(board, "1.2")
    wanted = {"1.1": "open", "1.2": "yours", "1.3": "course's version", "1.4": "solution seen"}
    wanted["1.5"] = "yours, solution seen"
    for id, state in wanted.items():
        assert row(board, id).endswith(f"  {state}")
    number = sum(e.notebook == "01" for e in (*exercises.registry().values(), *predictions.registry().values()))
    assert board.splitlines()[-1] == f"yours: 1 of {number}"


def test_the_last_call_counts():
    exercises.use("1.2", copy_of_course("1.2"))
    assert "yours: 1 of" in exercises.scoreboard("01")
    exercises.use("1.2", stub("1.2"))
    assert "yours: 0 of" in exercises.scoreboard("01")


def test_reading_the_solution_after_passing_costs_nothing():
    exercises.use("0.1", copy_of_course("0.1"))
    exercises.solution("0.1")
    assert "yours: 1 of 1" in exercises.scoreboard("00")


def test_what_use_returns_can_be_handed_in_again(capsys):
    fn = copy_of_course("0.1")
    again = exercises.use("0.1", exercises.use("0.1", fn))
    assert again.__wrapped__ is fn and again([3, 1, 2], 1) == [3]
    assert exercises.use("1.2", exercises.use("1.2", stub("1.2"))).__wrapped__ is course("1.2")
    assert "it is the course function itself" in capsys.readouterr().out


def test_a_notebook_that_never_calls_an_exercise_is_refused_under_the_tests(monkeypatch):
    cut, share = exercises.use("0.1", stub("0.1")), exercises.use("1.2", copy_of_course("1.2"))
    assert exercises.unused() == ["0.1", "1.2"] and exercises.unused("01") == ["1.2"]
    assert "1.2" in exercises.scoreboard("01"), "a learner reads the board whenever they like"
    monkeypatch.setenv("DLMLAB_STRICT_EXERCISES", "1")
    with pytest.raises(ValueError, match="nothing calls what `use` returned for 1.2"):
        exercises.scoreboard("01")
    share(10, 4)
    assert "1.2" in exercises.scoreboard("01")
    with pytest.raises(ValueError, match="0.1"):
        exercises.scoreboard()
    cut([1], 1)
    assert exercises.unused() == []
    exercises.use("1.2", copy_of_course("1.2"))
    assert exercises.unused() == ["1.2"], "calls before the last `use` are calls of another function"


def test_the_package_runs_on_an_installed_function():
    """Wherever the package calls its own function, and only inside the block."""
    seen = []

    def counted(masks, steps):
        seen.append(masks)
        return course("1.2")(masks, steps)

    masks = torch.tensor([6, 4])
    before = commit.Fixed(4).plan(masks)
    own = course("1.2")
    with exercises.installed("1.2", lambda masks, steps: seen.append(masks) or own(masks, steps)):
        assert torch.equal(commit.Fixed(4).plan(masks), before)
    assert seen == [4, 6, 4]  # the blocks, then the rows
    commit.Fixed(4).plan(masks)
    assert len(seen) == 3 and course("1.2") is own
    with pytest.raises(ZeroDivisionError), exercises.installed("1.2", lambda masks, steps: 1 / 0):
        commit.Fixed(4).plan(masks)
    assert course("1.2") is own and commit.num_transfer_tokens is own


def test_the_scoreboard_shows_one_notebook_or_all():
    every = sorted([*IDS, *predictions.registry()], key=lambda id: [int(part) for part in id.split(".")])
    assert [line.split()[0] for line in exercises.scoreboard().splitlines()[1:-1]] == every
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
    n = len(e.hints)
    assert n == 3
    assert exercises.hint(id, n) == f"Hint {n} of {n}. {e.hints[-1]}"
    for wrong in (0, n + 1):
        with pytest.raises(ValueError, match=f"hints 1 to {n}"):
            exercises.hint(id, wrong)


@pytest.mark.parametrize("id", IDS)
def test_the_second_hint_is_a_thought_and_no_code(id):
    e = exercises.registry()[id]
    assert not re.search(r"\w\(|\w\[|[=<>]=| = |\.\w+\(", e.hints[1]), e.hints[1]
    assert not re.search(r"\w\(|\w\[|[=<>]=| = ", e.hints[0]), e.hints[0]


def test_ids_are_unique():
    assert len(checks.EXERCISES) == len(IDS)


@pytest.mark.parametrize("id", IDS)
def test_a_check_knows_nothing_of_the_course_function(id):
    """A check that called it could be passed by handing it in, and would hide its bugs."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(exercises.registry()[id].check)))
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    imported |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    assert imported <= {
        "collections.abc",
        "itertools",
        "math",
        "numbers",
        "torch",
        "dlmlab.course.checks.expect",
        "dlmlab.course.exercises",
    }
    calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert not {c for c in calls if c.endswith(".course") or "import" in c}


@pytest.mark.parametrize("id", IDS)
def test_a_check_takes_less_than_a_second_of_one_core(id):
    exercises.check(id, course(id))  # the first call may import
    start = time.process_time()
    exercises.check(id, course(id))
    assert time.process_time() - start < 2, "two threads may each count one second"
    assert time.process_time() - start < grading.LIMIT / 10


def test_the_exercise_and_the_rule_of_the_sampler_are_one_function():
    """Exercise 1.4 is about what `Threshold` does."""
    score, eligible = torch.tensor([[0.9, 0.2, 0.5]]), torch.tensor([[True, True, False]])
    candidates = commit.Candidates(score, eligible, score, torch.ones(1, 3, 1), torch.ones(1, dtype=torch.long))
    for tau in (0.1, 0.9, 1.0):
        assert torch.equal(commit.Threshold(tau)(candidates), commit.threshold_commit(score, eligible, tau))


def broken(value, pick):
    """Change one element of a result, the one that `pick` (a number from 0 to 1) names."""
    if isinstance(value, torch.Tensor):
        flat = torch.zeros(value.numel(), dtype=torch.bool)
        flat[int(pick * value.numel())] = True
        there = flat.view(value.shape)
        if value.dtype == torch.bool:
            return value ^ there
        if value.is_floating_point():
            other = (value + 0.01 * (1 + value.abs())).masked_fill(~value.isfinite(), 0.0)
        else:
            other = value + 1
        return torch.where(there, other, value).to(value.dtype)
    if isinstance(value, list):
        at = int(pick * len(value))
        return [*value[:at], broken(value[at], pick), *value[at + 1 :]] if value else [7]
    if isinstance(value, tuple):
        at = int(pick * len(value))
        return (*value[:at], broken(value[at], pick), *value[at + 1 :])
    if isinstance(value, dict):
        key = list(value)[int(pick * len(value))]
        return value | {key: broken(value[key], pick)}
    if isinstance(value, float) and math.isinf(value):
        return 0.0
    if isinstance(value, float):
        return value + 1 + 0.01 * abs(value)  # no tolerance hides it
    return value + ("?" if isinstance(value, str) else 1)


def wrong_in_one_call(fn, number, pick):
    """Answer like `fn`, but in call `number` with one element changed: of the result, or of what it writes into."""
    calls = itertools.count()

    def answer(*args, **options):
        call = next(calls)  # also of one that raises
        out = fn(*args, **options)
        if call != number:
            return out
        if out is not None:
            return out if isinstance(out, torch.Tensor) and out.numel() == 0 else broken(out, pick)
        args[0].copy_(broken(args[0], pick))
        return out

    return answer


def calls_of(id):
    """Run a check on the course's function; return for each call the shape of its first tensor, or its arguments, and
    the number of elements in it, 0 where the call raises."""
    seen = []

    def noted(*args, **options):
        first = next((a for a in args if isinstance(a, torch.Tensor)), args)
        shape, size = (tuple(first.shape), first.numel()) if isinstance(first, torch.Tensor) else (repr(args), 1)
        seen.append((shape, 0))
        out = course(id)(*args, **options)
        seen[-1] = shape, size
        return out

    assert exercises.check(id, noted)
    return seen


@pytest.mark.parametrize("id", IDS)
def test_a_check_asks_for_several_shapes(id):
    """Zero, one and many: a function that is right for one shape only is wrong."""
    seen = {shape for shape, _ in calls_of(id)}
    assert len(seen) >= 5
    if isinstance(next(iter(seen)), tuple):
        assert any(1 in shape for shape in seen), seen


@pytest.mark.parametrize("id", [id for id in IDS if id not in RANDOM])
def test_a_check_looks_at_every_element_of_every_result(id, capsys):
    """One wrong element in one call of many, anywhere, is a wrong answer. Seeded; sixteen places an exercise."""
    places, draw = [n for n, (_, size) in enumerate(calls_of(id)) if size], torch.Generator().manual_seed(0)
    for _ in range(16):
        number = places[int(torch.randint(len(places), (), generator=draw))]
        pick = float(torch.rand((), generator=draw))
        assert not exercises.check(id, wrong_in_one_call(course(id), number, pick)), (number, pick)


@pytest.fixture(scope="module")
def tiny():
    """Make a model of random weights, small enough to decode in no time."""
    from dlmlab.network.model import LLaDAConfig, LLaDAModelLM

    config = LLaDAConfig(
        d_model=16, n_heads=2, n_layers=3, mlp_hidden_size=32, vocab_size=12, max_sequence_length=32, mask_token_id=11
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LLaDAModelLM(config).eval()


INSIDE = {  # exercises whose function the sampler itself calls: a sampler that does
    "1.2": dl.Sampler(commit=dl.Fixed(4)),
    "1.3": dl.Sampler(commit=dl.Fixed(4), temperature=0.7),
    "1.4": dl.Sampler(commit=dl.Threshold(0.15)),
    "1.5": dl.Sampler(commit=dl.Fixed(4), guidance=1.0),
    "8.3": dl.Sampler(commit=dl.Fixed(6), block_length=4, cache=dl.cache.DualCache()),
    "8.4": dl.Sampler(commit=dl.Fixed(6), block_length=4, cache=dl.focus.Focus()),
    "8.7": dl.Sampler(speculate=4),
}
ANOTHER_DRAW = ("with_multinomial", "with_exponential_noise")  # right, and another sample for the same seed


@pytest.mark.parametrize(
    "id, fn", [pytest.param(id, fn, id=f"{id}-{fn.__name__}") for id in INSIDE for fn in ANSWERS[id].RIGHT]
)
def test_the_sampler_runs_on_every_right_answer(id, fn, tiny):
    """What a check lets pass must not fail in the notebook, where the package calls it: shapes, padding, options."""

    def texts(way):
        prompts, seed = [[3, 1, 2], [5]], torch.Generator().manual_seed(0)
        return dl.sampling.sample(tiny, prompts, gen_length=12, sampler=way, generator=seed).ids

    called, before = [], texts(INSIDE[id])
    with exercises.installed(id, lambda *args, **options: called.append(1) or fn(*args, **options)):
        now = texts(INSIDE[id])
    assert called
    assert fn.__name__ in ANOTHER_DRAW or torch.equal(now, before)


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
