"""Confidences of written tokens: which text is read for them, and what it costs."""

import pytest
import torch

from dlmlab.decode import trust
from dlmlab.decode.bayes import ExactBayes
from dlmlab.decode.commit import Fixed
from dlmlab.decode.edit import Remask
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.objective.priors import mask_prior
from tests.mocks import CountingDenoiser, RandomDenoiser

V, MASK = 11, 10
X = torch.tensor([4, 3, 1, 7, 7, 2])
PLACES = torch.tensor([False, False, True, True, False, True])


def test_leave_one_out_hides_one_token_in_each_row():
    counting = CountingDenoiser(RandomDenoiser(V, 2))
    got = trust.leave_one_out(counting, X, PLACES, MASK)
    (rows,) = counting.inputs
    assert [[i for i in range(6) if row[i] == MASK] for row in rows] == [[2], [3], [5]]
    for i in (2, 3, 5):
        hidden = X.clone()
        hidden[i] = MASK
        logits = RandomDenoiser(V, 2)(hidden[None])[0, i]
        logits[MASK] = -torch.inf
        assert abs(float(got[i] - logits.softmax(-1)[X[i]])) < 1e-6
    assert got[~PLACES].tolist() == [1.0] * 3


def test_nobody_in_question_is_nothing_to_read():
    counting = CountingDenoiser(RandomDenoiser(V))
    assert trust.leave_one_out(counting, X, torch.zeros(6, dtype=torch.bool), MASK).tolist() == [1.0] * 6
    assert not counting.inputs


def test_leave_one_out_of_a_perfect_model_is_bayes_rule():
    """Texts ab, ac, bb with probabilities .5, .3, .2: given the other token, each posterior is worked by hand."""
    texts = torch.tensor([[0, 1], [0, 2], [1, 1]])
    model = ExactBayes(texts, mask_prior(4, 3), torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))
    got = trust.leave_one_out(model, torch.tensor([0, 1]), torch.tensor([True, True]), 3)
    assert torch.allclose(got, torch.tensor([0.5 / 0.7, 0.5 / 0.8]), atol=1e-5)


def test_reevaluated_reads_the_text_as_it_stands():
    counting = CountingDenoiser(RandomDenoiser(V, 1))
    got = trust.reevaluated(counting, X, PLACES, MASK)
    logits = RandomDenoiser(V, 1)(X[None])[0, 3]
    logits[MASK] = float("-inf")  # a mask is never written, so it has no share
    assert [ids.tolist() for ids in counting.inputs] == [[X.tolist()]]
    assert abs(float(got[3] - logits.softmax(-1)[7])) < 1e-6 and got[0] == 1


def test_stored_is_the_confidence_of_the_last_commit():
    sampler = Sampler(commit=Fixed(3), edit=Remask(0.9, extra=4))
    out = sample(RandomDenoiser(V, 4), [[1, 2], [3]], gen_length=5, sampler=sampler, mask_id=MASK, eos_id=0)
    got, last = trust.stored(out.trace), {}
    for step in out.trace.steps:
        for (row, column), c in zip(step.at.tolist(), step.confidence.tolist(), strict=True):
            last[row, column] = c
    assert len(last) == 10 and all(abs(float(got[at]) - c) < 1e-6 for at, c in last.items())
    assert got[0, 0] == got[1, 1] == 1.0


@pytest.mark.parametrize("k, wanted", [(0, []), (1, [3]), (2, [3, 5]), (9, [2, 3, 5])])
def test_the_lowest_places_are_in_question(k, wanted):
    confidence = torch.tensor([0.0, 0.0, 0.8, 0.1, 0.0, 0.1])
    assert trust.lowest_places(confidence, PLACES, k).nonzero()[:, 0].tolist() == wanted


def test_what_a_run_is_charged_with_is_what_its_trace_counts():
    out = sample(RandomDenoiser(V, 4), [[1, 2], [3], [5]], gen_length=5, sampler=Sampler(), mask_id=MASK, eos_id=0)
    assert trust.charged([step.rows for step in out.trace.steps], 3).tolist() == out.trace.nfe
    with pytest.raises(ValueError, match="calls name"):
        trust.charged([torch.tensor([0, 3])], 3)
