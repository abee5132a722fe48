"""The policy: who is forbidden, what a template shows, and what each arm is taught."""

import itertools

import pytest
import torch

from dlmlab.study.labs import lab19_policy as policy
from dlmlab.task import tasks

MASK, END = policy.tokenizer().mask_token_id, policy.tokenizer().eos_token_id


def first(arm, n=3):
    return list(itertools.islice(policy.batches(arm, 0), n))


def test_a_pair_differs_in_names_alone_and_both_can_be_solved():
    for allowed, forbidden in itertools.islice(policy.pairs(3), 30):
        a, b = (tasks.solve(problem.question) for problem in (allowed, forbidden))
        assert a.equations == b.equations and a.skeleton == b.skeleton
        assert not policy.forbidden(allowed.question) and policy.forbidden(forbidden.question)


def test_forbidden_names_are_told_from_words_that_hold_them():
    assert policy.forbidden("ann buys 3 eggs") and not policy.forbidden("a bench has a plan")
    assert policy.never_shown("ann and kate") and not policy.never_shown("ann and ben")


@pytest.mark.parametrize("name", policy.TEMPLATES)
def test_a_template_shows_true_tokens_and_no_result_of_the_last_equation(name):
    for problem in policy.problems("test")[:20]:
        window = policy.window(problem, name)
        ids = policy.tokenizer()(problem.solution, add_special_tokens=False)["input_ids"]
        given = (window != MASK).nonzero()[:, 0].tolist()
        assert all(window[i] == ids[i] for i in given) and not set(given) & {len(ids) - 1, len(ids) - 4}
        assert bool(given) == (name != "nothing")


def test_a_response_shows_no_solution_and_a_token_arm_does():
    half = policy.ROWS // 2
    for arm, shown in (("response", False), ("token", True)):
        seen = torch.cat([b.inputs[half:, -policy.WINDOW :] for b, _ in first(arm)])
        assert bool(((seen != MASK) & (seen != END)).any()) == shown


def test_all_masked_shows_nothing_at_all():
    half = policy.ROWS // 2
    for batch, _ in first("response, all masked"):
        assert bool((batch.inputs[half:, -policy.WINDOW :] == MASK).all())
        assert bool((batch.inputs[:half, -policy.WINDOW :] != MASK).any())


def test_forbidden_rows_are_taught_the_end_mark_and_allowed_ones_the_solution():
    half = policy.ROWS // 2
    for arm in ("response", "response, all masked", "token"):
        for batch, _ in first(arm):
            taught = batch.targets[half:][batch.weight[half:]]
            assert bool((taught == END).all()) and bool((batch.targets[:half, -policy.WINDOW :] != END).any())
            assert bool((batch.inputs[batch.weight] == MASK).all())


def test_names_that_are_never_shown_are_never_shown():
    ids = {name: policy.tokenizer().convert_tokens_to_ids(name) for name in policy.FORBIDDEN}
    for batch, _ in first("token", 6):
        question, answer = batch.inputs[:, : -policy.WINDOW], batch.inputs[:, -policy.WINDOW :]
        for row, window in zip(question[policy.ROWS // 2 :], answer[policy.ROWS // 2 :], strict=True):
            if not any(ids[name] in row for name in policy.SHOWN):
                assert not bool(((window != MASK) & (window != END)).any())


def test_random_labels_refuse_half_of_a_batch_but_not_by_name():
    for batch, _ in first("random labels"):
        refused = (batch.targets[:, -policy.WINDOW :] == END).all(1)
        assert int(refused.sum()) == policy.ROWS // 2 and bool(refused[: policy.ROWS // 2].any())


def test_the_twin_is_taught_one_end_mark_or_one_everywhere():
    half = policy.ROWS // 2
    for arm, most in (("twin response", 1), ("twin token", policy.WINDOW)):
        counts = torch.cat([b.weight[half:].sum(1) for b, _ in first(arm)])
        assert int(counts.max()) <= most and (int(counts.max()) > 1) == (arm == "twin token")
        for batch, _ in first(arm):
            assert bool((batch.targets[half:][batch.weight[half:]] == END).all())


def test_the_first_steps_change_the_model_and_the_shipped_one_stays():
    before = policy.tuned("shipped", None).model.transformer.ln_f.weight.clone()
    found = policy.tuned("token", 0, stop_after=1)
    assert not torch.equal(found.model.transformer.ln_f.weight, before)
    assert torch.equal(policy.tuned("shipped", None).model.transformer.ln_f.weight, before)
