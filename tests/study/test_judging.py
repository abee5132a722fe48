"""What the tables of notebook 04 share: the same problems under the same masks, and summaries that stay honest."""

import pytest
import torch

from dlmlab.measure.evaluate import Proportion
from dlmlab.network.checkpoint import load
from dlmlab.study import judging
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt, encode_solution


def test_a_slice_is_the_beginning_of_the_whole_under_the_same_masks():
    two, three = (judging.answer_bound(judging.dense(), size=size) for size in (2, 3))
    assert len(three) == 3 and two == pytest.approx(three[:2], abs=1e-3)
    assert judging.answer_bound(judging.dense(), size=2, seed=1) != two
    judged = judging.judge(judging.dense(), size=3)
    assert len(judged["correct"]) == 3 and judged["nfe"] > 0


def test_the_twin_is_judged_by_its_exact_likelihood_whatever_the_masks():
    twin = judging.dense("llama-mini")
    first, again = (judging.answer_bound(twin, size=2, seed=seed) for seed in (0, 1))
    assert first == again and all(0 < nats < 5 for nats in first)


def test_a_mean_is_over_problems_and_seeds_and_a_point_keeps_its_row():
    rows = [{"nats": [1.0, 3.0], "correct": "1101", "seed": 0}, {"nats": [5.0, 7.0], "correct": "0000", "seed": 1}]
    assert judging.mean_nats(rows) == 4.0
    first, second = judging.points(rows)
    assert (first["exact_match"], first["bound"], first["seed"]) == (0.75, 2.0, 0)
    assert (first["low"], first["high"]) == Proportion(3, 4).interval and second["low"] == 0 < second["high"]


@torch.no_grad()
def test_the_exact_nats_of_the_twin_are_those_of_its_answer_up_to_one_end_mark():
    """Hypothesis H5 stands on them: token by token, from the first of the answer to the first end mark."""
    twin, tokenizer = load("llama-mini")
    for problem, nats in zip(tasks.load_split("test"), judging.answer_bound(twin, problems=2), strict=False):
        ids = encode_prompt(tokenizer, problem.question)
        answer = [*encode_solution(tokenizer, problem), tokenizer.eos_token_id]
        log_p = 0.0
        for token in answer:
            log_p += float(twin(torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token])
            ids.append(token)
        assert nats == pytest.approx(-log_p, abs=2e-3)
