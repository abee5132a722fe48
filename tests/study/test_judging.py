"""What the tables of notebook 04 share: a live slice sees the same problems under the same masks as the stored row."""

from types import SimpleNamespace

import pytest
import torch

import dlmlab as dl
from dlmlab.study import judging
from dlmlab.task import tasks


@pytest.mark.parametrize("name", ["llada-mini", "llama-mini"])
def test_a_slice_of_the_likelihood_is_the_beginning_of_the_whole(name):
    whole = judging.answer_bound(judging.dense(name), problems=5)
    few = judging.answer_bound(judging.dense(name), problems=5, size=2)
    assert len(whole) == 5 and few == pytest.approx(whole[:2], abs=2e-5)


def test_points_have_the_interval_of_their_problems_and_the_mean_of_their_nats():
    (row,) = judging.points([{"correct": "1101", "nats": [1.0, 3.0], "name": "a"}])
    assert row["exact_match"] == 0.75 and row["low"] < 0.75 < row["high"] and row["bound"] == 2.0
    assert row["name"] == "a"  # nothing is lost


def test_points_of_several_draws_are_those_of_the_first_with_the_others_beside_it():
    rows = [{"m": "a", "seed": s, "correct": c, "nats": [n]} for s, c, n in ((0, "1100", 1.0), (1, "10", 3.0))]
    (row, other) = judging.points([*rows, {"m": "b", "seed": None, "correct": "1", "nats": [0.0]}], "m")
    assert row["exact_match"] == 0.5 and row["others"] == [0.5] and row["bound"] == 2.0
    assert other["exact_match"] == 1.0 and other["others"] == []


def test_answers_are_compared_on_the_problems_that_both_were_asked_and_all_draws_must_agree():
    def row(m, seed, correct):
        return {"m": m, "seed": seed, "correct": correct}

    rows = [row("a", 0, "1" * 40), row("a", 1, "0" * 10), row("b", 0, "0" * 20), row("b", 1, "1" * 10)]
    found = judging.more_right([*rows, row("c", None, "0" * 40)], {"m": "a"}, {"m": "b"})
    assert found.mean == 100 and found.seeds == (100, -100) and found.word == "no difference shown"
    still = judging.more_right([*rows, row("c", None, "0" * 40)], {"m": "a"}, {"m": "c"})
    assert still.mean == 100 and still.seeds == (100, 0)  # a row without a draw is paired with each


def test_a_ruined_model_is_not_asked_everything(monkeypatch):
    asked = []

    def accuracy(model, tokenizer, problems, **how):
        asked.append(len(problems))
        return SimpleNamespace(correct=model * len(problems), mean_nfe=float(len(asked)))

    monkeypatch.setattr(judging.evaluate, "accuracy", accuracy)
    assert judging.judge("0") == {"correct": "0" * judging.FIRST, "nfe": 1.0}
    whole = judging.judge("1")
    assert asked == [judging.FIRST, judging.FIRST, judging.PROBLEMS - judging.FIRST]
    assert len(whole["correct"]) == judging.PROBLEMS and whole["nfe"] == 2.8  # a fifth at 2, the rest at 3
    assert len(judging.judge("1", seed=1)["correct"]) == judging.FIRST
    assert len(judging.judge("1", size=3)["correct"]) == 3


def test_mean_nats_is_over_problems_and_seeds():
    assert judging.mean_nats([{"nats": [1.0, 3.0]}, {"nats": [5.0, 7.0]}]) == 4.0


@torch.no_grad()
def test_the_exact_nats_of_the_twin_are_those_of_its_answer_up_to_one_end_mark():
    """Hypothesis H5 stands on them: token by token, from the first of the answer to the first end mark."""
    twin, tokenizer = dl.load("llama-mini")
    for problem, nats in zip(tasks.load_split("test"), dl.judging.answer_bound(twin, problems=2), strict=False):
        ids = dl.layout.encode_prompt(tokenizer, problem.question)
        answer = [*dl.layout.encode_solution(tokenizer, problem), tokenizer.eos_token_id]
        log_p = 0.0
        for token in answer:
            log_p += float(twin(torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token])
            ids.append(token)
        assert nats == pytest.approx(-log_p, abs=2e-3)
