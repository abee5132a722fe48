"""AWQ: ratio 0 is rounding, the search is never worse, and the folded model is the model."""

from dataclasses import replace

import pytest
import torch

from dlmlab.compress import activations
from dlmlab.compress.quant import awq
from dlmlab.compress.quant.grids import fake_quantize
from dlmlab.compress.quant.rtn import output_error, rtn
from dlmlab.network.codes import QSpec, dequantize
from tests.compress.quant.helpers import tiny_calibration, toy
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("spec", [QSpec(2), QSpec(3, group=16), QSpec(4, True)])
def test_ratio_0_is_rounding_and_the_best_ratio_is_not_worse(spec):
    W, found, _ = toy()
    search = awq.search(W, found, spec)
    plain = output_error(W, dequantize(rtn(W, None, spec)), found.gram)
    assert search.errors[0] == plain
    assert min(search.errors) == search.errors[awq.RATIOS.index(search.ratio)] <= plain
    best = output_error(W, fake_quantize(W * search.s, spec) / search.s, found.gram)
    assert best == min(search.errors)


def test_large_activations_gain():
    W, found, X = toy()
    assert awq.search(W, found, QSpec(3)).ratio > 0
    assert min(awq.search(W, found, QSpec(3)).errors) < 0.9 * awq.search(W, found, QSpec(3)).errors[0]
    s = awq.column_scales(found.abs_sum / found.tokens, 0.5)
    assert (s.argsort() == found.abs_sum.argsort()).all()  # the larger the activation, the larger the scale
    assert float(s.max() * s.min()) == pytest.approx(1, rel=1e-5)


def test_the_folded_model_has_the_logits_of_the_model():
    model, ids = tiny_model(n_kv_heads=4).double(), tiny_ids()
    found = activations.collect(model, tiny_calibration(), gram=True)
    new, _ = awq.awq(model, found, QSpec(3, group=16))
    assert (new(ids).logits - model(ids).logits).abs().max() < 1e-5
    assert not torch.equal(
        new.model.transformer["blocks"][0].ff_out.weight, model.model.transformer["blocks"][0].ff_out.weight
    )


def test_statistics_without_second_moments_are_refused():
    W, found, _ = toy()
    found.gram = None
    with pytest.raises(ValueError, match="needs second moments"):
        awq.search(W, found, QSpec(3))


# ------------------------------------------------------------------------------------------------ clipped ranges


@pytest.mark.parametrize("spec", [QSpec(2, group=16), QSpec(3), QSpec(3, True, group=32)], ids=str)
def test_each_cell_has_the_range_that_changes_its_outputs_least(spec):
    """Against the texts themselves, one cell after the other, every cut tried."""
    W, found, X = toy(R=6, n=500)
    ours = fake_quantize(awq.clip(W, found, spec), spec)
    g = spec.group or 64
    for i in range(0, 64, g):
        part, inputs, alone = W[:, i : i + g], X[:, i : i + g], replace(spec, group=None)
        tried = [cut_and_round(part, share, alone) for share in awq.CUTS]
        errors = torch.stack([(inputs @ (new - part).T).double().square().sum(0) for new in tried])  # (cuts, R)
        mine = (inputs @ (ours[:, i : i + g] - part).T).double().square().sum(0)
        torch.testing.assert_close(mine, errors.amin(0), rtol=1e-3, atol=1e-6)
    plain = output_error(W, fake_quantize(W, spec), found.gram)
    assert output_error(W, ours, found.gram) < plain


def cut_and_round(W, share, spec):
    top = share * W.abs().amax(1, keepdim=True)
    return fake_quantize(W.clamp(-top, top), spec)


def test_cutting_keeps_zeros_and_needs_a_scale_for_each_row():
    W, found, _ = toy()
    W[:, ::2] = 0
    assert bool((awq.clip(W, found, QSpec(2, group=16))[:, ::2] == 0).all())
    with pytest.raises(ValueError, match="granularity='tensor'"):
        awq.clip(W, found, QSpec(2, granularity="tensor"))
    found.gram = None
    with pytest.raises(ValueError, match="needs second moments"):
        awq.clip(W, found, QSpec(2))
