"""Which split a problem belongs to: the splits never meet; by the strict rule distractors count for nothing."""

from itertools import chain

import pytest

from dlmlab.task import splits, tasks
from dlmlab.task.frames import DISTRACTORS
from dlmlab.task.splits import RULES, SplitRecipe, core, split_of
from dlmlab.task.tasks import load_split, make_problem, solve


def with_sentence(question: str, sentence: str) -> str:
    """Put a sentence behind the first one."""
    first, rest = question.split(" . ", 1)
    return f"{first} . {sentence} {rest}"


SENTENCES = [frame.text.format(m="zoe", a=a) for frame in DISTRACTORS for a in (7, 88)]
PLAIN = [
    problem for problem in map(make_problem, range(60)) if "zoe" not in problem.question and not problem.distractor
]


def test_the_core_of_a_question_is_the_same_whatever_distractors_it_has():
    for problem in PLAIN:
        assert core(problem.skeleton) == problem.skeleton
        for sentence in SENTENCES:
            told = with_sentence(problem.question, sentence)
            assert solve(told).skeleton != problem.skeleton and core(solve(told).skeleton) == problem.skeleton
            assert core(solve(with_sentence(told, SENTENCES[0])).skeleton) == problem.skeleton  # two of them


def test_the_core_keeps_every_number_that_matters():
    for problem in map(make_problem, range(300)):
        numbers = [part for part in core(problem.skeleton).replace("/", " ").split() if part.isdigit()]
        used = {str(n) for left, _, right, _ in solve(problem.question).equations for n in (left, right)}
        assert set(numbers) <= used


def test_a_distractor_moves_no_problem_by_the_strict_rule_and_many_by_the_older_one():
    moved = dict.fromkeys(RULES, 0)
    for problem in PLAIN:
        told = [solve(with_sentence(problem.question, sentence)).skeleton for sentence in SENTENCES]
        for rule in RULES:
            moved[rule] += sum(split_of(t, rule) != split_of(problem.skeleton, rule) for t in told)
    assert moved["core"] == 0 and moved["skeleton"] > 0


def held_out(rule: str, n: int) -> set[str]:
    return {
        core(make_problem(seed, split=s, steps=1, rule=rule).skeleton) for s in splits.HELD_OUT for seed in range(n)
    }


def test_no_strict_training_problem_is_a_held_out_one_but_for_its_distractor():
    """One equation, where numbers are few; by the older rule the same streams do meet, so the test can fail."""
    met = {}
    for rule in RULES:
        stream = (core(make_problem(seed, steps=1, rule=rule).skeleton) for seed in range(3000))
        met[rule] = len(held_out(rule, 200) & set(stream))
    assert met["core"] == 0 and met["skeleton"] > 0


def test_a_split_made_anew_is_strict_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "SPLIT_SIZES", {"test": 20})
    tasks.write_splits(tmp_path, SplitRecipe(seed=3))
    assert SplitRecipe.read(tmp_path) == SplitRecipe(seed=3, rule="core")
    problems = load_split("test", tmp_path)
    assert len({core(p.skeleton) for p in problems}) == 20
    assert {split_of(p.skeleton, "core") for p in problems} == {"test"}
    before = (tmp_path / "test.jsonl").read_bytes()
    tasks.write_splits(tmp_path)  # by the recipe that it left
    assert (tmp_path / "test.jsonl").read_bytes() == before


def test_the_splits_of_the_course_keep_the_rule_of_its_models(tmp_path, monkeypatch):
    assert SplitRecipe.read() == SplitRecipe(seed=0, rule="skeleton")
    assert [make_problem(s) for s in range(200)] == [make_problem(s, rule="skeleton") for s in range(200)]
    monkeypatch.setattr(tasks, "SPLIT_SIZES", {"validation": 40})  # whole, all three take twenty seconds
    tasks.write_splits(tmp_path, SplitRecipe.read())
    made, whole = ((folder / "validation.jsonl").read_bytes() for folder in (tmp_path, splits.SPLITS))
    assert whole.startswith(made) and made.count(b"\n") == 40


def test_an_unknown_rule_is_named():
    for call in (
        lambda: SplitRecipe(rule="words"),
        lambda: make_problem(0, rule="words"),
        lambda: split_of("{n} buys", "words"),
    ):
        with pytest.raises(ValueError, match="words.*core, skeleton"):
            call()


def test_every_problem_of_the_course_has_a_core_of_its_own_skeleton():
    problems = [*chain(*map(load_split, tasks.SPLIT_SIZES))]
    assert all((core(p.skeleton) != p.skeleton) == p.distractor for p in problems)
