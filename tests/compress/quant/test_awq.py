"""AWQ: ratio 0 is rounding, the search is never worse, and the folded model is the model."""

import pytest
import torch

from dlmlab.compress import activations
from dlmlab.compress.quant import awq
from dlmlab.compress.quant.grids import QSpec, dequantize, fake_quantize
from dlmlab.compress.quant.rtn import output_error, rtn
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
