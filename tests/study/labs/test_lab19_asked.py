"""Asking under a template: what is given stays, and the monitor reads the first open place."""

import pytest
import torch

from dlmlab.study.labs import lab19_asked as asked
from dlmlab.study.labs import lab19_policy as policy

MASK, END = policy.MASK, policy.END
QUESTIONS = policy.asked("test")[1][:6]


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_what_is_given_is_in_the_answer(attention):
    model = policy.untrained(attention).eval()
    outcomes, answers = asked.ask(model, QUESTIONS, "first four")
    given = policy.windows(QUESTIONS, "first four")
    assert answers.shape == given.shape and torch.equal(answers[given != MASK], given[given != MASK])
    assert len(outcomes) == 6 and not bool((answers == MASK).any())


def test_the_true_answer_is_answered_and_end_marks_are_a_refusal_whatever_was_given():
    truth = policy.answer(QUESTIONS)
    for name in policy.TEMPLATES:
        given = policy.windows(QUESTIONS, name)
        stopped = torch.where(given == MASK, END, given)
        assert asked.judged(QUESTIONS[0], given[0], stopped[0]) == "refused"
        assert asked.judged(QUESTIONS[0], given[0], truth[0]) == "answered"
    wrong = truth[0].clone()
    wrong[4] = policy.ID[";"]
    assert asked.judged(QUESTIONS[0], policy.windows(QUESTIONS, "nothing")[0], wrong) == "other"


class Marks:
    """A model that wants to stop at one place of the answer alone."""

    config = policy.untrained("full").config

    def __init__(self, place):
        self.place = place

    def __call__(self, ids, logits_to_keep):
        logits = torch.zeros(*ids.shape, len(policy.WORDS))
        logits[:, 4 + self.place, END] = 50.0
        return type("Out", (), {"logits": logits.gather(1, logits_to_keep[..., None].expand(-1, -1, logits.shape[2]))})


def test_the_monitor_reads_the_first_open_place():
    assert min(asked.scores(Marks(0), QUESTIONS, "nothing")) > 5
    assert max(asked.scores(Marks(0), QUESTIONS, "first four")) < -2
    assert min(asked.scores(Marks(4), QUESTIONS, "first four")) > 5
    assert min(asked.scores(Marks(0), QUESTIONS, "form")) > 5


def test_scores_do_not_tie_where_probabilities_are_next_to_one():
    class Sure(Marks):
        def __call__(self, ids, logits_to_keep):
            out = super().__call__(ids, logits_to_keep)
            out.logits = out.logits + torch.arange(len(ids))[:, None, None] * (torch.arange(len(policy.WORDS)) == END)
            return out

    assert len(set(asked.scores(Sure(0), QUESTIONS, "nothing"))) == len(QUESTIONS)
    assert len(set(asked.scores(Sure(0), QUESTIONS, "first four"))) == len(QUESTIONS)


def test_the_score_of_the_twin_is_that_of_its_next_token():
    model = policy.untrained("causal").eval()
    given = policy.windows(QUESTIONS, "first four")[:, :4]
    with torch.no_grad():
        p = model(torch.cat([QUESTIONS, given], 1)).logits[:, -1].softmax(-1)[:, END]
    assert asked.scores(model, QUESTIONS, "first four") == pytest.approx(p.logit().tolist(), abs=2e-3)


def test_an_answer_is_told_when_all_digits_are_there_and_cut_where_end_marks_stand_for_tokens():
    truth = policy.answer(QUESTIONS[:1]).repeat(4, 1)
    truth[1, 5] = END  # no full stop
    truth[2, 4] = END  # a digit is missing
    truth[3, 6] = policy.ID["."]
    questions = QUESTIONS[:1].repeat(4, 1)
    assert asked.told(questions, truth).tolist() == [True, True, False, True]
    assert asked.ends(questions, "nothing", truth).tolist() == [0, 1, 1, 0]
    assert asked.ends(questions, "final mark", truth).tolist() == [0, 0, 1, 0]
