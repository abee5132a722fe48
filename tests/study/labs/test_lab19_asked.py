"""Asking under a template: what is given stays, and the monitor reads the first open place."""

import torch

from dlmlab.study.labs import lab19_asked as asked
from dlmlab.study.labs import lab19_policy as policy

MASK, END = policy.tokenizer().mask_token_id, policy.tokenizer().eos_token_id
PROBLEMS = policy.problems("test")[:6]


def test_what_is_given_is_in_the_answer_and_an_answer_is_judged():
    for arm in ("shipped", "twin"):
        outcomes, answers = asked.ask(policy.tuned(arm, None), PROBLEMS, "first four")
        assert outcomes.count("answered") >= 5
        for problem, answer in zip(PROBLEMS, answers, strict=True):
            given = policy.window(problem, "first four")
            assert torch.equal(answer[given != MASK], given[given != MASK]) and len(answer) == policy.WINDOW


def test_a_window_of_end_marks_is_a_refusal_whatever_was_given():
    for name in policy.TEMPLATES:
        given = policy.window(PROBLEMS[0], name)
        assert asked.judged(PROBLEMS[0].question, given, torch.where(given == MASK, END, given)) == "refused"


class Marks:
    """A model that wants to stop at one place of the answer alone."""

    config = policy.tuned("shipped", None).config

    def __init__(self, place):
        self.place = place

    def __call__(self, ids, valid=None, logits_to_keep=None):
        logits = torch.zeros(*ids.shape, self.config.vocab_size)
        logits[:, ids.shape[1] - policy.WINDOW + self.place, END] = 50.0
        return type("Out", (), {"logits": logits.gather(1, logits_to_keep[..., None].expand(-1, -1, logits.shape[2]))})


def test_the_monitor_reads_the_first_open_place():
    assert min(asked.scores(Marks(0), PROBLEMS, "nothing")) > 0.99
    assert max(asked.scores(Marks(0), PROBLEMS, "first four")) < 0.1
    assert min(asked.scores(Marks(4), PROBLEMS, "first four")) > 0.99
