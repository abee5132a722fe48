"""Experiments of notebook 02: what is masked and counted is what the tables say."""

import math

import pytest
import torch

from dlmlab.decode.sampling import Sampler
from dlmlab.study import nb02_objective as objective
from dlmlab.task import tasks
from dlmlab.task.layout import ANSWER_LENGTH, encode_prompt, encode_rows
from dlmlab.task.tokenizer import ANSWER, build_tokenizer
from tests.mocks import CountingDenoiser, ModelOf, OracleDenoiser, UniformDenoiser
from tests.tiny import one_thread, tiny_model  # noqa: F401

TOKENIZER = build_tokenizer()
V, MASK, EOS = len(TOKENIZER), TOKENIZER.mask_token_id, TOKENIZER.eos_token_id
PROBLEMS = tasks.load_split("test")[:3]  # of different lengths
ROWS = encode_rows(TOKENIZER, PROBLEMS, side="left")


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("part", ["answer", "question"])
def test_a_model_that_knows_nothing_pays_log_v_for_every_token_at_every_level(part):
    results = objective.bound_rows(ModelOf(UniformDenoiser(V), MASK), ROWS, part, draws=10, generator=generator())
    for b, result in enumerate(results):
        n = int(getattr(ROWS, part)[b].sum())
        assert result["bound"] == pytest.approx(n * math.log(V - 1), rel=1e-5)
        assert all(loss == pytest.approx(count * math.log(V - 1), rel=1e-5) for loss, count in result["levels"])
        shares = [count / (2 * n) for _, count in result["levels"]]  # ten even counts: two in every bin
        assert all(0.2 * k < share <= 0.2 * (k + 1) + 0.1 for k, share in enumerate(shares))


def test_the_bound_of_a_question_hides_the_answer_and_does_not_count_it():
    counting = CountingDenoiser(UniformDenoiser(V))
    objective.bound_rows(ModelOf(counting, MASK), ROWS, "question", draws=4, generator=generator())
    seen = torch.cat(counting.inputs)
    assert bool((seen[:, -ANSWER_LENGTH:] == MASK).all())


@torch.no_grad()
def test_the_twin_reads_left_to_right_up_to_the_first_end_mark(one_thread):  # noqa: F811
    twin = tiny_model("causal", vocab_size=V, max_sequence_length=96)
    results = objective.twin_rows(twin, ROWS, EOS)
    for p, result in zip(PROBLEMS, results, strict=True):
        prompt = encode_prompt(TOKENIZER, p.question)
        ids = prompt + TOKENIZER(p.solution, add_special_tokens=False)["input_ids"] + [EOS]
        log_p = twin(torch.tensor([ids])).logits[0].log_softmax(-1)
        loss = [-float(log_p[i - 1, ids[i]]) for i in range(1, len(ids))]
        assert result["question"] == pytest.approx(sum(loss[: len(prompt) - 1]), rel=1e-4)
        assert result["answer"] == pytest.approx(sum(loss[len(prompt) - 1 :]), rel=1e-4)


def test_a_text_from_nothing_is_split_at_the_answer_mark():
    p = PROBLEMS[0]
    row = encode_rows(TOKENIZER, [p], side="left")
    model = ModelOf(OracleDenoiser(row.x0, V, MASK), MASK, EOS)
    length = int(row.question.sum())
    ((question, answer),) = objective.from_nothing(model, TOKENIZER, [length], Sampler(), generator())
    assert (question, answer) == (p.question, p.solution)


def test_a_causal_model_writes_question_answer_mark_and_answer(one_thread):  # noqa: F811
    twin = tiny_model("causal", vocab_size=V, max_sequence_length=96, eos_token_id=EOS, mask_token_id=MASK)
    pairs = objective.from_nothing(twin, TOKENIZER, [1, 1], Sampler(temperature=1.0), generator())
    assert len(pairs) == 2 and not any(ANSWER in question for question, _ in pairs)


def test_samples_are_judged_letter_by_letter():
    p = tasks.load_split("calibration")[0]
    model = ModelOf(OracleDenoiser(encode_rows(TOKENIZER, [p], side="left").x0, V, MASK), MASK, EOS)
    row = objective.sample_row(model, TOKENIZER, "most probable first", 0, size=1)
    assert (row["read"], row["correct"], row["clean"]) == ("1", "1", "1") and row["problem"] == [""]
