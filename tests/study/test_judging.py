"""What the tables of notebook 04 share: a live slice sees the same problems under the same masks as the stored row."""

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
