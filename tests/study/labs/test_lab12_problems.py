"""Small problems that nobody trained on, and batches of others."""

import torch

from dlmlab.study.labs import lab12_minigsm as gsm
from dlmlab.study.labs import lab12_problems as problems
from dlmlab.task import tasks


def numbers(problem):
    return [int(word) for word in f"{problem.question} {problem.solution}".split() if word.isdigit()]


def test_problems_are_small_different_and_held_out():
    found = problems.asked(30)
    assert len({p.skeleton for p in found}) == 30 and all(p.steps == 1 for p in found)
    assert max(n for p in found for n in numbers(p)) <= problems.MOST
    assert all(tasks.split_of(p.skeleton) != "train" for p in found)
    assert problems.asked(10) == found[:10]


def test_solutions_fill_their_window():
    rows, valid = problems.encode(problems.asked(8))
    assert bool(valid[:, -problems.WINDOW :].all())
    assert gsm.judged(problems.asked(8), rows[:, -problems.WINDOW :]) == "1" * 8


def test_batches_are_the_same_for_all():
    a, b = problems.Stream(4), problems.Stream(4)
    assert all(torch.equal(x, y) for x, y in zip(a(3, None), b(3, None), strict=True))
    assert a.tokens == a(3, None)[0].numel()
