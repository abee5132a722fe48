"""A whole model: fake and packed give the same logits, what is chosen is quantized and nothing else."""

import functools

import pytest
import torch

from dlmlab.compress import activations, calibration
from dlmlab.compress.quant import awq, gptq, rotation, smooth
from dlmlab.compress.quant.grids import QSpec, dequantize, fake_quantize
from dlmlab.compress.quant.linear import QuantLinear, model_bytes, packed_sizes
from dlmlab.compress.quant.quantize import bits_of, quantize_model
from dlmlab.compress.quant.rtn import output_error, rtn
from dlmlab.decode.sampling import sample
from dlmlab.network import parts
from dlmlab.network.checkpoint import load
from tests.compress.quant.helpers import seeded, tiny_calibration
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def blocks(model):
    return model.model.transformer["blocks"]


@pytest.mark.parametrize("method", [rtn, gptq.gptq, functools.partial(gptq.gptq, options=gptq.Options(act_order=True))])
@pytest.mark.parametrize("spec", [QSpec(4), QSpec(3, True)])
def test_packed_and_fake_models_have_the_same_logits(method, spec):
    model, calib = tiny_model(), tiny_calibration()
    calib = None if method is rtn else calib
    fake, packed = (quantize_model(model, spec, method, calib=calib, packed=p) for p in (False, True))
    assert torch.equal(fake(tiny_ids()).logits, packed(tiny_ids()).logits)
    assert not torch.equal(fake(tiny_ids()).logits, model(tiny_ids()).logits)
    assert model_bytes(packed) < model_bytes(fake) == model_bytes(model)
    assert len(packed_sizes(packed)) == 14


def test_only_what_is_chosen_changes():
    model = tiny_model()
    out = quantize_model(model, lambda name: QSpec(2) if name == "blocks.1.ff_out" else None)
    for name, old in model.named_parameters():
        changed = name == "model.transformer.blocks.1.ff_out.weight"
        assert torch.equal(out.get_parameter(name), old) != changed
    W = blocks(model)[1].ff_out.weight.detach()
    assert torch.equal(blocks(out)[1].ff_out.weight, fake_quantize(W, QSpec(2)))


def test_bits_are_those_of_the_storage():
    model = tiny_model()
    packed = quantize_model(model, QSpec(4, group=16), packed=True)
    assert bits_of(packed) == pytest.approx(4 + 20 / 16)
    assert bits_of(model) == 32
    half = quantize_model(model, lambda name: QSpec(4, group=16) if "proj" in name else None, packed=True)
    assert 4 + 20 / 16 < bits_of(half) < 32


def test_layers_in_order_see_the_errors_before_them():
    """The second layer is repaired on the inputs of the rounded first one, not on the dense ones."""
    model, calib = tiny_model(), tiny_calibration()
    ordered = quantize_model(model, QSpec(2), gptq.gptq, calib=calib)
    dense = quantize_model(model, QSpec(2), gptq.gptq, statistics=activations.collect(model, calib, gram=True))
    assert torch.equal(blocks(ordered)[0].q_proj.weight, blocks(dense)[0].q_proj.weight)
    assert not torch.equal(blocks(ordered)[1].q_proj.weight, blocks(dense)[1].q_proj.weight)
    found = activations.collect(ordered, calib, gram=True)["blocks.1.q_proj"]
    W = blocks(model)[1].q_proj.weight.detach()
    expected = gptq.gptq(W, found, QSpec(2))
    assert torch.allclose(blocks(ordered)[1].q_proj.weight, dequantize(expected), atol=1e-3)


def test_a_rotated_model_keeps_its_rotation_when_packed():
    model = rotation.rotate(tiny_model(), seeded())
    fake, packed = (quantize_model(model, QSpec(8), packed=p) for p in (False, True))
    assert torch.equal(fake(tiny_ids()).logits, packed(tiny_ids()).logits)
    assert (packed(tiny_ids()).logits - tiny_model()(tiny_ids()).logits).abs().max() < 1.0
    assert isinstance(blocks(packed)[0].ff_out, QuantLinear) and blocks(packed)[0].ff_out._forward_pre_hooks


def test_errors_name_the_matrix():
    with pytest.raises(ValueError, match="blocks.0.q_proj: group=24 does not divide the 32 columns"):
        quantize_model(tiny_model(), QSpec(4, group=24))
    with pytest.raises(ValueError, match="not both"):
        quantize_model(tiny_model(), QSpec(4), calib=tiny_calibration(), statistics={})
    with pytest.raises(ValueError, match="blocks.0.q_proj: .*needs statistics"):
        quantize_model(tiny_model(), QSpec(4), gptq.gptq)


@pytest.fixture(scope="module")
def mini():
    """LLaDA-mini with the second moments of 8 noised problems."""
    model, tokenizer = load("llada-mini")
    calib = calibration.calibration_set(tokenizer, calibration.calibration_problems(8), generator=seeded())
    return model, tokenizer, activations.collect(model, calib, gram=True)


@pytest.mark.parametrize("bits", [4, 3])
def test_gptq_and_awq_are_not_worse_than_rounding_on_real_matrices(mini, bits):
    model, _, found = mini
    for layer in (0, 5):
        for name in ("q_proj", "attn_out"):
            W = getattr(blocks(model)[layer], name).weight.detach()
            statistics, spec = found[f"blocks.{layer}.{name}"], QSpec(bits, group=64)
            plain = output_error(W, dequantize(rtn(W, None, spec)), statistics.gram)
            ours = output_error(W, dequantize(gptq.gptq(W, statistics, spec)), statistics.gram)
            assert ours < 0.9 * plain, (layer, name)
            assert min(awq.search(W, statistics, spec).errors) <= plain


def test_llada_mini_folded_by_awq_and_smoothquant_is_llada_mini(mini):
    model, _, found = mini
    ids = tiny_ids(2, 60, vocab=333)
    with torch.no_grad():
        for new, _ in (awq.awq(model, found, QSpec(4), sites=("q_proj",)), smooth.smooth(model, found)):
            assert (new(ids).logits - model(ids).logits).abs().max() < 1e-4


def test_a_packed_llada_mini_writes_what_the_fake_one_writes(mini):
    model, tokenizer, found = mini
    fake, packed = (quantize_model(model, QSpec(3, group=64), statistics=found, packed=p) for p in (False, True))
    prompts = [tokenizer("Tom has 3 apples.")["input_ids"]] * 2
    assert sample(fake, prompts, gen_length=8).answers == sample(packed, prompts, gen_length=8).answers
    assert {name for names in parts.READERS for name in names} == {
        name.rsplit(".", 1)[1] for name in packed_sizes(packed)
    }
