"""Accuracy is counted by the verifier, in the order of the problems, with an interval that stays in [0, 1]."""

import dataclasses
import re

import pytest
import torch
from scipy.stats import norm

from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure.evaluate import Proportion, accuracy, next_result
from dlmlab.task.layout import encode_prompt
from dlmlab.task.tasks import make_problem, solve, verify
from dlmlab.task.tokenizer import build_tokenizer
from tests.mocks import CountingDenoiser, ModelOf, OracleDenoiser, UniformDenoiser

TOKENIZER = build_tokenizer()
MASK, EOS, V = TOKENIZER.mask_token_id, TOKENIZER.eos_token_id, len(TOKENIZER)
PROBLEMS = [make_problem(seed) for seed in range(7)]
FAST = Sampler(commit=Threshold(0.5))


class Student:
    """Read the question out of the ids and write its true solution; a `wrong` question gets another final answer."""

    def __init__(self, wrong: set[str] = frozenset()):
        self.wrong = wrong

    def solution(self, ids: list[int]) -> list[int]:
        text = TOKENIZER.decode([i for i in ids if i not in (EOS, MASK)])
        question = re.search(r"startoftext\|>(.*)<\|answer\|>", text)[1].strip()
        solved = solve(question)
        written = solved.text
        if question in self.wrong:
            written = re.sub(r"#### \d+", f"#### {(solved.answer + 1) % 100}", written)
        return TOKENIZER(written, add_special_tokens=False)["input_ids"]

    def __call__(self, ids, valid=None):
        x0 = ids.clone()
        start = (ids == TOKENIZER.convert_tokens_to_ids("<|answer|>")).int().argmax(1) + 1
        for row, s in enumerate(start.tolist()):
            answer = self.solution(ids[row, :s].tolist())
            x0[row, s:] = EOS
            x0[row, s : s + len(answer)] = torch.tensor(answer)
        return OracleDenoiser(x0, V, MASK)(ids)


def model_of(denoiser) -> ModelOf:
    return ModelOf(denoiser, MASK, EOS)


# ---------------------------------------------------------------------------------------------------------- intervals


@pytest.mark.parametrize("hits, n", [(0, 10), (3, 10), (10, 10), (497, 500), (1, 1)])
def test_the_interval_is_wilsons(hits, n):
    z = norm.ppf(0.975)
    p = hits / n
    centre, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    low, high = Proportion(hits, n).interval
    assert (low, high) == pytest.approx(((centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)), abs=1e-9)
    assert 0 <= low <= p <= high <= 1


def test_no_hit_in_ten_is_not_certainly_zero():
    assert Proportion(0, 10).interval == pytest.approx((0.0, 0.2775), abs=1e-4)  # z^2 / (n + z^2), Wilson 1927
    assert str(Proportion(0, 10)) == "0.0% [0.0%, 27.8%]"


# ----------------------------------------------------------------------------------------------------------- accuracy


def test_a_model_that_writes_the_true_solution_is_always_right():
    result = accuracy(model_of(Student()), TOKENIZER, PROBLEMS, sampler=FAST)
    assert (result.exact_match.hits, result.clean.hits, result.exact_match.n) == (7, 7, 7)
    assert result.answers == [p.solution for p in PROBLEMS]


def test_a_model_that_guesses_is_never_right():
    generator = torch.Generator().manual_seed(0)
    sampler = Sampler(temperature=1.0, commit=Threshold(0.0))
    result = accuracy(model_of(UniformDenoiser(V)), TOKENIZER, PROBLEMS, sampler=sampler, generator=generator)
    assert result.exact_match.hits == result.clean.hits == 0


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_results_come_back_in_the_order_of_the_problems(batch_size):
    lengths = [len(encode_prompt(TOKENIZER, p.question)) for p in PROBLEMS]
    assert lengths != sorted(lengths), "the problems must need sorting"
    wrong = {PROBLEMS[1].question, PROBLEMS[5].question}
    result = accuracy(model_of(Student(wrong)), TOKENIZER, PROBLEMS, sampler=FAST, batch_size=batch_size)
    assert [v.correct for v in result.verdicts] == [p.question not in wrong for p in PROBLEMS]
    assert [verify(p.question, a) for p, a in zip(PROBLEMS, result.answers, strict=True)] == result.verdicts
    assert result.problems == PROBLEMS


def test_the_forwards_of_a_problem_come_back_with_the_problem():
    """One token a forward up to the end mark: a longer solution needs more."""
    sampler = Sampler(score="left_to_right", stop_at_eos=True)
    result = accuracy(model_of(Student()), TOKENIZER, PROBLEMS, sampler=sampler, batch_size=3)
    tokens = [len(TOKENIZER(p.solution, add_special_tokens=False)["input_ids"]) for p in PROBLEMS]
    assert result.nfe == [n + 1 for n in tokens]
    assert result.mean_nfe == pytest.approx(sum(tokens) / 7 + 1)


def test_costs_are_summed_over_the_batches():
    denoiser = CountingDenoiser(Student())
    result = accuracy(model_of(denoiser), TOKENIZER, PROBLEMS, sampler=FAST, batch_size=3)
    assert result.tokens_through == sum(ids.numel() for ids in denoiser.inputs)
    assert sum(result.nfe) == sum(denoiser.batches)
    assert result.seconds > 0


def test_batches_hold_problems_of_similar_length():
    denoiser = CountingDenoiser(Student())
    accuracy(model_of(denoiser), TOKENIZER, PROBLEMS, sampler=FAST, batch_size=2, gen_length=40)
    lengths = sorted(len(encode_prompt(TOKENIZER, p.question)) for p in PROBLEMS)
    assert [ids.shape[1] - 40 for ids in denoiser.inputs] == [lengths[i] for i in (1, 3, 5, 6)]


def test_exact_match_by_steps_adds_up_to_all():
    wrong = {p.question for p in PROBLEMS if p.steps == PROBLEMS[0].steps}
    result = accuracy(model_of(Student(wrong)), TOKENIZER, PROBLEMS, sampler=FAST)
    groups = result.by_steps()
    assert list(groups) == sorted({p.steps for p in PROBLEMS})
    assert sum(g.n for g in groups.values()) == 7 and sum(g.hits for g in groups.values()) == result.exact_match.hits
    assert groups[PROBLEMS[0].steps].hits == 0


def test_a_right_number_after_a_wrong_equation_is_correct_but_not_clean():
    result = accuracy(model_of(Student()), TOKENIZER, PROBLEMS[:1], sampler=FAST)
    spoilt = verify(PROBLEMS[0].question, f"1 + 1 = 3 ; #### {PROBLEMS[0].answer}")
    mixed = dataclasses.replace(result, verdicts=[*result.verdicts, spoilt])
    assert mixed.exact_match == Proportion(2, 2) and mixed.clean == Proportion(1, 2)


def test_no_problems_is_refused():
    with pytest.raises(ValueError, match="no problems"):
        accuracy(model_of(UniformDenoiser(V)), TOKENIZER, [])


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused_by_value(batch_size):
    with pytest.raises(ValueError, match=f"batch_size={batch_size}"):
        accuracy(model_of(UniformDenoiser(V)), TOKENIZER, PROBLEMS[:1], batch_size=batch_size)


def test_the_probe_of_single_calculations_sees_no_result_and_counts_each_operator():
    problems = [make_problem(seed) for seed in range(12)]
    texts = {}
    for p in problems:
        answer = TOKENIZER(p.solution, add_special_tokens=False)["input_ids"]
        texts[tuple(encode_prompt(TOKENIZER, p.question))] = answer

    def solver(ids, valid=None):
        row = ids[0].tolist()
        n = next(len(prompt) for prompt in texts if tuple(row[: len(prompt)]) == prompt)
        answer, at = texts[tuple(row[:n])], row.index(MASK) - n
        assert all(token == MASK for token in row[n + at :])  # nothing from the result on is visible
        logits = torch.zeros(1, len(row), len(TOKENIZER))
        logits[0, n + at, answer[at]] = 1.0
        return logits

    found = next_result(ModelOf(solver, MASK, EOS), TOKENIZER, problems)
    assert sum(share.n for share in found.values()) == sum(p.steps for p in problems)
    assert all(share.hits == share.n for share in found.values())
    blind = next_result(ModelOf(UniformDenoiser(V), MASK, EOS), TOKENIZER, problems)
    assert sum(share.hits for share in blind.values()) == 0
