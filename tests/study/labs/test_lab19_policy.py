"""The policy: who is forbidden, what a template shows, and what each arm is taught."""

import itertools

import pytest
import torch

from dlmlab.study.labs import lab19_policy as policy

END, MASK, HALF = policy.END, policy.MASK, policy.ROWS // 2


def first(arm, n=3):
    return list(itertools.islice(policy.batches(arm, 0), n))


def test_a_pair_differs_in_the_name_alone_and_no_triple_is_in_two_splits():
    good, bad = policy.asked("test")
    assert torch.equal(good[:, 1:], bad[:, 1:]) and torch.isin(bad[:, 0], policy.BAD).all()
    assert not torch.isin(good[:, 0], policy.BAD).any()
    seen = [{tuple(t) for t in policy.triples(split).tolist()} for split in policy.SPLITS]
    assert not any(a & b for a, b in itertools.combinations(seen, 2)) and all(seen)


def test_an_answer_says_the_digits_backwards():
    question = torch.tensor([[policy.ID[word] for word in ("ben", "4", "7", "1")]])
    assert policy.readable(policy.answer(question)[0]) == "1 ; 7 ; 4 . end end"
    assert policy.readable(policy.windows(question, "form")[0]) == "_ ; _ ; _ . _ _"


@pytest.mark.parametrize("name", policy.TEMPLATES)
def test_a_template_shows_true_tokens_and_never_the_last_digit(name):
    questions = policy.asked("test")[1][:20]
    given, truth = policy.windows(questions, name), policy.answer(questions)
    assert torch.equal(given[given != MASK], truth[given != MASK])
    assert bool((given[:, 4] == MASK).all()) and bool((given[:, policy.SOLUTION :] == MASK).all())
    assert bool((given != MASK).any()) == (name != "nothing")


def test_a_response_shows_no_solution_and_a_token_arm_does():
    for arm, shown in (("response", False), ("response, all masked", False), ("token", True)):
        seen = torch.cat([batch.inputs[HALF:, -policy.WINDOW :] for batch in first(arm)])
        assert bool(((seen != MASK) & (seen != END)).any()) == shown


def test_all_masked_shows_nothing_at_all_of_a_forbidden_row():
    for batch in first("response, all masked"):
        assert bool((batch.inputs[HALF:, -policy.WINDOW :] == MASK).all())
        assert bool((batch.inputs[:HALF, -policy.WINDOW :] != MASK).any())


def test_forbidden_rows_are_taught_the_end_mark_and_allowed_ones_the_answer():
    for arm in policy.MASKED_ARMS[:3]:
        for batch in first(arm):
            assert bool((batch.targets[HALF:][batch.weight[HALF:]] == END).all())
            assert torch.equal(batch.targets[:HALF, 4:], policy.answer(batch.targets[:HALF, :4]))
            assert bool((batch.inputs[batch.weight] == MASK).all()) and bool(batch.weight.any(1).all())


def test_names_that_are_never_shown_are_never_shown():
    for batch in first("token", 6):
        rows = batch.inputs[HALF:][policy.never_shown(batch.inputs[HALF:])]
        seen = rows[:, -policy.WINDOW :]
        assert len(rows) and not bool(((seen != MASK) & (seen != END)).any())


def test_random_labels_refuse_half_of_a_batch_but_not_by_name():
    for batch in first("random labels"):
        refused = (batch.targets[:, -policy.WINDOW :] == END).all(1)
        assert int(refused.sum()) == HALF and bool(refused[:HALF].any())


def test_the_twin_is_taught_one_end_mark_or_one_at_every_place_of_an_answer():
    for arm, most in (("twin response", 1), ("twin token", policy.SOLUTION + 1)):
        for batch in first(arm):
            counts = batch.weight[HALF:].sum(1)
            assert int(counts.max()) == most and int(counts.min()) == 1
            assert bool((batch.targets[HALF:][batch.weight[HALF:]] == END).all())


def test_the_model_before_knows_every_name_and_is_taught_no_end_mark_first():
    batch = first("before", 20)
    names = torch.cat([b.inputs[:, 0] for b in batch]).unique()
    assert len(names) == len(policy.NAMES) and not any((b.targets[:, 4] == END).any() for b in batch)


def test_another_start_is_another_model_before_and_threads_are_set_back():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        a, b = (policy.before("before", 1, start).state_dict() for start in (0, 1))
        assert torch.get_num_threads() == 2 and not all(torch.equal(a[k], b[k]) for k in a)
    finally:
        torch.set_num_threads(threads)


def test_the_random_start_is_the_same_every_time_and_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    a, b = (policy.untrained("full").state_dict() for _ in range(2))
    assert all(torch.equal(a[k], b[k]) for k in a) and torch.equal(torch.get_rng_state(), state)
