"""Precision over a run: rules, what may be compared, and a model that changes its bits by row."""

from fractions import Fraction

import pytest
import torch

from dlmlab.compress.quant.precision import (
    ByConfidence,
    ByShare,
    BySteps,
    Moment,
    Scheduled,
    assignments,
    stored_bits,
)
from dlmlab.compress.registry import compress
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.network.codes import QSpec
from tests.mocks import ModelOf, RandomDenoiser
from tests.tiny import one_thread, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def moment(step=0, share=1.0, confidence=0.0) -> Moment:
    return Moment(step, share, confidence)


def test_assignments_of_equal_mean_are_all_of_them():
    found = assignments()
    assert sum(map(len, found.values())) == 27
    assert all(Fraction(sum(bits), 3) == mean for mean, group in found.items() for bits in group)
    assert set(found[Fraction(8)]) == {(8, 8, 8), (16, 4, 4), (4, 16, 4), (4, 4, 16)}
    assert len(found[Fraction(28, 3)]) == 6 and len(assignments((2, 4), 2)) == 3


def test_phases_of_steps_are_equal_and_the_last_goes_on():
    rule = BySteps((16, 8, 4), steps=12)
    assert [rule(moment(step)) for step in range(14)] == [16] * 4 + [8] * 4 + [4] * 6
    assert [BySteps((16, 4), 3)(moment(step)) for step in range(3)] == [16, 16, 4]


def test_phases_of_the_share_of_masks():
    rule = ByShare((16, 8, 4))
    assert [rule(moment(share=s)) for s in (1.0, 0.7, 2 / 3, 0.5, 1 / 3, 0.1, 0.0)] == [16, 16, 8, 8, 4, 4, 4]
    assert rule(moment(share=1.2)) == 16  # masks in the prompt count too


def test_levels_by_confidence():
    rule = ByConfidence((16, 8, 4), (0.5, 0.9))
    assert [rule(moment(confidence=c)) for c in (0.0, 0.49, 0.5, 0.89, 0.9, 1.0)] == [16, 16, 8, 8, 4, 4]
    with pytest.raises(ValueError, match="rising"):
        ByConfidence((16, 8, 4), (0.9, 0.5))
    with pytest.raises(ValueError, match="must be 2 rising"):
        ByConfidence((16, 8, 4), (0.5,))
    for rule in (BySteps, ByShare):
        with pytest.raises(ValueError, match="at least one phase"):
            rule((), 3) if rule is BySteps else rule(())


def test_a_schedule_never_saves_memory():
    for group in assignments().values():
        for bits in group:
            assert stored_bits(bits) >= stored_bits(bits, nested=True) == max(bits) >= sum(bits) / 3


class Named:
    """A model whose logits say which one it is: the token `answer`, and every call is counted."""

    def __init__(self, answer: int, top: float = 5.0):
        self.inner = ModelOf(
            lambda ids, valid: top * torch.eye(12)[answer].expand(*ids.shape, 12), mask_id=11, eos_id=10
        )
        self.config, self.device, self.rows = self.inner.config, self.inner.device, []

    def __call__(self, ids, valid=None, **options):
        self.rows.append(len(ids))
        return self.inner(ids, valid, **options)


def test_every_row_goes_through_the_model_of_its_own_share():
    models = {16: Named(1), 4: Named(2)}
    both = Scheduled(models, ByShare((16, 4)), answer_length=4)
    ids = torch.tensor([[7, 11, 11, 11, 11], [7, 11, 11, 3, 3], [7, 11, 3, 11, 11]])
    logits = both(ids).logits
    assert logits.argmax(-1)[:, 0].tolist() == [1, 2, 1]
    assert models[16].rows == [2] and models[4].rows == [1]
    assert both.used == {16: 2, 4: 1} and both.mean_bits == 12
    with pytest.raises(ValueError, match=r"asks for \['8'\]; there are models for \[16, 4\]"):
        Scheduled(models, ByShare((8, 4)), answer_length=4)(ids)


def test_steps_are_counted_from_the_start_of_every_run():
    both = Scheduled({16: Named(1), 4: Named(2)}, BySteps((16, 4), steps=4), answer_length=4)
    sampler = Sampler(commit=Fixed(4))
    for _ in range(2):  # the second run begins again
        out = sample(both, [[7, 7], [8]], gen_length=4, sampler=sampler)
        assert sorted(out.answers[0]) == sorted(out.answers[1]) == [1, 1, 2, 2]
    assert both.used == {16: 8, 4: 8} and both.mean_bits == 10


def test_confidence_is_that_of_the_last_forward_of_the_same_row():
    sure, unsure = Named(1, top=50.0), Named(2, top=0.0)
    both = Scheduled({16: unsure, 4: sure}, ByConfidence((16, 4), (0.5,)), answer_length=4)
    first = torch.tensor([[7, 11, 11, 11, 11], [8, 11, 11, 11, 11]])
    both(first)  # nothing is known yet: 16 bits, an unsure answer
    assert both.used == {16: 2}
    assert both.confidence[(7,)] == pytest.approx(1 / 12)
    both.confidence[(8,)] = 0.9
    both(torch.tensor([[7, 11, 11, 11, 3], [8, 11, 11, 11, 3]]))
    assert both.used == {16: 3, 4: 1} and both.confidence[(8,)] == pytest.approx(1, abs=1e-3)
    both(torch.tensor([[8, 11, 11, 3, 3]]))  # the other row has left; this one is still known
    assert both.used == {16: 3, 4: 2}


def test_one_level_is_that_model_and_company_changes_nothing():
    model = ModelOf(RandomDenoiser(12, seed=3), mask_id=11, eos_id=10)
    prompts, sampler = [[1, 2, 3], [4, 5], [6]], Sampler(commit=Threshold(0.2))
    plain = sample(model, prompts, gen_length=8, sampler=sampler).answers
    assert (
        sample(Scheduled({8: model}, ByShare((8, 8)), answer_length=8), prompts, gen_length=8, sampler=sampler).answers
        == plain
    )
    other = ModelOf(RandomDenoiser(12, seed=4), mask_id=11, eos_id=10)
    for rule in (BySteps((16, 4), 4), ByShare((16, 4)), ByConfidence((16, 4), (0.3,))):
        scheduled = Scheduled({16: model, 4: other}, rule, answer_length=8)
        together = sample(scheduled, prompts, gen_length=8, sampler=sampler).answers
        alone = [sample(scheduled, [p], gen_length=8, sampler=sampler).answers[0] for p in prompts]
        assert together == alone


def test_real_models_of_different_bits_switch_inside_the_sampler():
    model = tiny_model(mask_token_id=1, eos_token_id=0)
    models = {bits: compress(model, "rtn", QSpec(bits)) for bits in (2, 16)}
    scheduled = Scheduled(models, BySteps((16, 2), steps=6), answer_length=6)
    out = sample(scheduled, [[5, 6, 7]], gen_length=6, sampler=Sampler(commit=Fixed(6)))
    assert scheduled.mean_bits == 9 and len(out.trace.steps) == 6
    precise = sample(models[16], [[5, 6, 7]], gen_length=6, sampler=Sampler(commit=Fixed(6)))
    assert out.trace.order(0)[:3] == precise.trace.order(0)[:3]
