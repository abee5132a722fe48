"""Activations: classes of tokens, scales of each kind, and a model whose inputs are rounded."""

import pytest
import torch

from dlmlab.compress.quant import rotation
from dlmlab.compress.quant.activation import CLASSES, PADDING, fake, observe, quantized_inputs, spans, token_classes
from dlmlab.compress.quant.grids import fake_quantize
from dlmlab.decode.cache import PrefixCache
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.network.codes import QSpec
from tests.compress.quant.helpers import seeded, tiny_calibration
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
TENSOR, TOKEN = QSpec(8, granularity="tensor"), QSpec(8, granularity="token")
MASK = 9


def texts():
    """Two texts of different lengths: padding on the left of one, on the right of the other; answers of 3 tokens."""
    ids = torch.tensor([[0, 0, 1, 2, MASK, 4], [1, MASK, 2, 3, MASK, 0]])
    return ids, torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]]).bool()


def test_classes_are_counted_from_the_end_of_the_text_on_either_side_of_the_padding():
    ids, real = texts()
    classes = token_classes(ids, MASK, real=real, answer_length=3)
    assert classes.tolist() == [[PADDING, PADDING, 0, 1, 2, 1], [0, 2, 1, 1, 2, PADDING]]
    assert [CLASSES[c] for c in (0, 1, 2)] == ["prompt", "visible", "mask"]
    assert token_classes(ids, MASK, answer_length=2).tolist()[0] == [0, 0, 0, 0, 2, 1]


def test_a_range_belongs_to_one_class_of_one_text():
    ids, real = texts()
    classes, x = token_classes(ids, MASK, real=real, answer_length=3), torch.randn(2, 6, 8, generator=seeded())
    x[0, 0] = 1000.0  # padding has no say
    found = spans(x, classes, 3)
    for b in range(2):
        for k in range(3):
            mine = x[b][classes[b] == k]
            assert found.high[b, k] == mine.max().clamp(min=0) and found.low[b, k] == mine.min().clamp(max=0)


def test_a_scale_a_class_is_as_good_as_that_class_alone():
    ids, real = texts()
    classes, x = token_classes(ids, MASK, real=real, answer_length=3), torch.randn(2, 6, 8, generator=seeded())
    x[classes == 2] *= 50  # loud masks
    new = fake(x, QSpec(4, granularity="tensor"), classes=classes)
    for b in range(2):
        for k in range(3):
            mine = classes[b] == k
            assert torch.equal(new[b][mine], fake_quantize(x[b][mine], QSpec(4, granularity="tensor")))
    one = fake(x, QSpec(4, granularity="tensor"))
    quiet = (classes == 0) | (classes == 1)
    assert (one - x)[quiet].norm() > 5 * (new - x)[quiet].norm()


def test_equal_vectors_are_perfect_in_their_own_class_and_hurt_in_company():
    x = torch.randn(1, 4, 16, generator=seeded())
    x[0, 2:] = 5.0  # two masks, the same vector of one value
    classes = torch.tensor([[0, 1, 2, 2]])
    assert (fake(x, QSpec(2, granularity="tensor"), classes=classes) - x)[0, 2:].abs().max() < 0.01
    assert (fake(x, QSpec(2, granularity="tensor")) - x)[0, :2].abs().max() > 0.5


def test_a_token_scale_is_the_token_alone_and_beats_one_for_all():
    x = torch.randn(2, 6, 32, generator=seeded()) * torch.logspace(0, 2, 6)[:, None]
    new = fake(x, TOKEN)
    assert torch.equal(new[1, 3], fake_quantize(x[1, 3:4], QSpec(8))[0])
    assert (new - x)[:, 0].norm() < 0.1 * (fake(x, TENSOR) - x)[:, 0].norm()


def test_a_text_is_rounded_alike_alone_and_in_company():
    x = torch.randn(3, 5, 8, generator=seeded()) * torch.tensor([1.0, 30.0, 0.1])[:, None, None]
    for spec in (TENSOR, TOKEN):
        assert torch.equal(fake(x, spec)[1:2], fake(x[1:2], spec))


def test_static_ranges_cover_what_was_seen_and_clip_the_rest():
    x = torch.randn(4, 5, 8, generator=seeded())
    none = torch.zeros(4, 5, dtype=torch.long)
    ranges = spans(x[:2], none[:2], 1).join(spans(x[2:], none[2:], 1))
    assert float(ranges.high) == float(x.max()) and float(ranges.low) == float(x.min())
    step = float(ranges.high - ranges.low) / 255
    assert (fake(x, TENSOR, ranges=ranges) - x).abs().max() <= step * 0.51
    assert fake(100 * x, TENSOR, ranges=ranges).max() <= float(ranges.high) + step


def test_what_means_nothing_is_refused():
    x = torch.randn(2, 3, 4)
    with pytest.raises(ValueError, match="granularity='row' is of weights"):
        fake(x, QSpec(8))
    ranges = spans(x, torch.zeros(2, 3, dtype=torch.long), 1)
    with pytest.raises(ValueError, match="cannot be static"):
        fake(x, TOKEN, ranges=ranges)
    with pytest.raises(ValueError, match="ranges of 1 classes, but the tokens have 3"):
        fake(x, TENSOR, classes=torch.zeros(2, 3, dtype=torch.long), ranges=ranges)


# ------------------------------------------------------------------------------------------------ models


def test_a_model_with_rounded_inputs_is_near_the_model_and_is_itself_again_afterwards():
    model, ids = tiny_model(mask_token_id=0), tiny_ids()
    before, distance = model(ids).logits.detach(), {}
    for bits in (4, 8, 12):
        with quantized_inputs(model, QSpec(bits, granularity="token")):
            distance[bits] = float((model(ids).logits.detach() - before).norm() / before.norm())
    assert distance[12] < 0.01 < distance[4] and distance[12] < distance[8] < distance[4]
    assert torch.equal(model(ids).logits, before)
    with pytest.raises(ValueError, match="weights"), quantized_inputs(model, QSpec(8)):
        model(ids)
    assert torch.equal(model(ids).logits, before)  # the hooks are gone after an error too


@pytest.mark.parametrize("by_class", [False, True])
def test_static_ranges_of_a_model(by_class):
    model, calib = tiny_model(mask_token_id=0), tiny_calibration()
    ranges = observe(model, calib, by_class=by_class, answer_length=4, batch_size=5)
    assert len(ranges) == 14 and ranges["blocks.1.ff_out"].high.shape == (1, 3 if by_class else 1)
    again = observe(model, calib, by_class=by_class, answer_length=4)
    for name in ranges:
        assert torch.allclose(ranges[name].high, again[name].high, rtol=1e-4)
    before = model(calib.ids, calib.real).logits[calib.real]
    with quantized_inputs(model, TENSOR, by_class=by_class, ranges=ranges, answer_length=4):
        after = model(calib.ids, calib.real).logits[calib.real]
    assert 0 < (after - before).norm() < 0.1 * before.norm()


@pytest.mark.parametrize("spec, by_class", [(TENSOR, False), (TENSOR, True), (TOKEN, False)])
def test_a_sampler_may_run_inside_and_company_changes_nothing(spec, by_class):
    model = tiny_model(mask_token_id=1, eos_token_id=0)
    prompts = [[5, 6, 7, 8], [9, 10], [11, 12, 13]]
    sampler = Sampler(commit=Threshold(0.3))
    with quantized_inputs(model, spec, by_class=by_class, answer_length=6):
        together = sample(model, prompts, gen_length=6, sampler=sampler).answers
        alone = [sample(model, [p], gen_length=6, sampler=sampler).answers[0] for p in prompts]
    assert together == alone


def test_classes_refuse_a_cache():
    model = tiny_model(mask_token_id=1, eos_token_id=0)
    sampler = Sampler(block_length=3, cache=PrefixCache())
    with quantized_inputs(model, TENSOR, by_class=True, answer_length=6), pytest.raises(ValueError, match="whole text"):
        sample(model, [[5, 6]], gen_length=6, sampler=sampler)
    with quantized_inputs(model, TOKEN):
        sample(model, [[5, 6]], gen_length=6, sampler=sampler)


def test_a_rotation_comes_before_rounding():
    model, spec, seen = rotation.rotate(tiny_model(mask_token_id=0), seeded()), QSpec(2, granularity="token"), []
    last = model.model.transformer["blocks"][0].ff_out

    def run():
        handle = last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))  # after all others
        model(tiny_ids())
        handle.remove()

    run()
    with quantized_inputs(model, lambda name: spec if name == "blocks.0.ff_out" else None):
        run()
    rotated, rounded = seen
    assert torch.equal(rounded, fake(rotated, spec)) and not torch.equal(rounded, rotated)
