"""What a search looks at: validation problems under common masks, and nothing else."""

import pytest
import torch

from dlmlab.compress.joint import validation
from dlmlab.compress.joint.steps import USUAL
from dlmlab.compress.joint.validation import Answers, Validation, choose_then_test
from dlmlab.network.checkpoint import load
from dlmlab.study import judging
from dlmlab.task import tasks
from tests.compress.cases import reader
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_bound_is_that_of_the_tables():
    """The same numbers as `judging.answer_bound`, which tables are measured with."""
    model = load("llada-mini").model
    mine = Validation(6, 2, seed=3).nats(model)
    theirs = judging.answer_bound(model, problems=6, draws=2, split="validation", seed=3)
    assert mine == pytest.approx(theirs, abs=1e-4)


def test_two_models_see_the_same_masks():
    model, v = reader(), Validation(4, 2)
    assert v.nats(model) == v.nats(model) == Validation(4, 2).nats(model)
    assert v.nats(model) != Validation(4, 2, seed=1).nats(model)
    assert v.loss(model) == pytest.approx(sum(v.nats(model)) / 4)


def test_the_answers_are_those_of_the_problems_in_their_order():
    model = load("llada-mini").model
    v = Validation(12)
    found = v.answers(model, USUAL.sampler)
    assert len(found.correct) == len(found.nfe) == 12 and found.wrong <= 0.25 and 1 < found.forwards < 10
    alone = Validation(1).answers(model, USUAL.sampler)
    assert (alone.correct[0], alone.nfe[0]) == (found.correct[0], found.nfe[0])
    assert Answers([True, False], [3, 5]).wrong == 0.5


def test_only_the_validation_split_is_read(monkeypatch):
    read = []
    load_split = tasks.load_split
    monkeypatch.setattr(tasks, "load_split", lambda split: read.append(split) or load_split(split))
    v = Validation(2, 1)
    v.nats(reader())
    v.answers(reader(), USUAL.sampler)
    assert set(read) == {"validation"}


def test_only_the_chosen_candidate_is_tested():
    tested = []
    validate, test = {"a": 0.3, "b": 0.1, "c": 0.1}.get, {"a": 0.0, "b": 0.5, "c": 0.2}.get
    found = choose_then_test(["a", "b", "c"], validate, lambda c: tested.append(c) or test(c))
    assert found == (1, 0.5) and tested == ["b"]
    with pytest.raises(ValueError, match="no candidates"):
        choose_then_test([], validate, test)


def test_a_search_needs_problems():
    for wrong in ({"problems": 0}, {"draws": 0}):
        with pytest.raises(ValueError, match="=0"):
            Validation(**wrong)
    assert validation.SPLIT == "validation" and torch.is_tensor(Validation(1, 1)._rows[0])
