"""What lab 15 codes of a problem, and what its order of places costs."""

import pytest

from dlmlab.network.checkpoint import load
from dlmlab.study.labs import lab15_orders as lab
from dlmlab.task import layout, tasks


def test_parts_hold_what_they_say():
    problems = tasks.load_split("test")[:6]
    tokenizer = load("llada-mini").tokenizer
    solutions = [len(layout.encode_solution(tokenizer, p)) + 1 for p in problems]
    questions = [len(tokenizer(p.question, add_special_tokens=False)["input_ids"]) for p in problems]
    counts = {part: lab.rows_of(part, problems)[2].sum(1).tolist() for part in lab.ASKED}
    assert counts["answer"] == solutions and counts["window"] == [layout.ANSWER_LENGTH] * 6
    assert counts["row"] == [a + b for a, b in zip(solutions, questions, strict=True)]
    for part in lab.ASKED:
        x0, valid, coded = lab.rows_of(part, problems)
        assert x0.shape == valid.shape == coded.shape and not bool((coded & ~valid).any())


def test_every_place_is_written_once_and_forwards_follow_the_order():
    row = lab.run("answer", "left to right, 8", None, size=2)
    lengths = lab.rows_of("answer", tasks.load_split("test")[:2])[2].sum(1).tolist()
    assert row["forwards"] == [-(-n // 8) for n in lengths] and min(row["bits"]) > 0


def test_the_answer_of_a_row_is_a_part_of_it():
    row = lab.run("row", "all at once", None, size=2)
    assert all(0 < a < b for a, b in zip(row["of answer"], row["bits"], strict=True))


def test_the_bound_of_an_answer_is_near_a_random_order():
    found = {order: lab.mean(lab.TABLE.rows(), "answer", order) for order in ("nelbo", "random")}
    assert found["nelbo"] == pytest.approx(found["random"], rel=0.3)
    assert lab.more(lab.TABLE.rows(), "answer", "nelbo", "random").word == "no difference shown"


def test_a_length_costs_more_than_an_answer():
    histogram, below = lab.length_bits(tasks.load_split("test")[:128])
    assert lab.mean(lab.TABLE.rows(), "answer", "left to right") < histogram < below


def test_the_window_is_compared_on_the_problems_that_it_has():
    d = lab.window_less_answer(lab.TABLE.rows())
    assert d.low < d.mean < d.high and abs(d.mean) < 1
