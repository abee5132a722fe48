"""What is folded changes no output: any scales at any site, in float64."""

import pytest
import torch

from dlmlab.compress import activations
from dlmlab.compress.quant import folding
from dlmlab.network import parts
from tests.compress.quant.helpers import seeded, tiny_calibration
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


SITES = {names[0]: names for names in parts.READERS}


def test_every_input_has_a_maker():
    assert set(parts.MAKERS) == set(SITES)


@pytest.mark.parametrize("site", SITES)
def test_a_folded_scale_changes_the_matrices_and_no_logit(site):
    model = tiny_model(n_kv_heads=4).double()
    found, before = activations.collect(model, tiny_calibration(), gram=True), model(tiny_ids()).logits

    def scaling(W, statistics):
        assert W.shape[0] == sum(getattr(model.model.transformer["blocks"][0], n).out_features for n in SITES[site])
        return torch.exp(torch.randn(W.shape[1], generator=seeded(2)))

    new, scaled = folding.balance(model, found, scaling, [site])
    assert (new(tiny_ids()).logits - before).abs().max() < 1e-5
    assert all(
        not torch.equal(getattr(b, n).weight, getattr(a, n).weight)
        for a, b in zip(model.model.transformer["blocks"], new.model.transformer["blocks"], strict=True)
        for n in (*SITES[site], parts.MAKERS[site])
    )
    again = activations.collect(new, tiny_calibration(), gram=True)  # the statistics that were scaled along are true
    for name, statistics in again.items():
        for field in ("sum_sq", "sum_norm", "abs_sum", "abs_max", "gram"):
            assert torch.allclose(getattr(statistics, field), getattr(scaled[name], field), rtol=1e-4, atol=1e-4), name
    assert torch.equal(model(tiny_ids()).logits, before)


def test_scales_that_cannot_be_folded_are_refused():
    block = tiny_model().model.transformer["blocks"][0]  # 4 heads share 2 values
    with pytest.raises(ValueError, match="32 scales, but v_proj makes 16"):
        folding.fold(block, "attn_out", torch.ones(32))
    with pytest.raises(ValueError, match="site='head' is unknown; known: q_proj"):
        folding.fold(block, "head", torch.ones(32))
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="finite and > 0"):
            folding.fold(block, "q_proj", torch.full((32,), bad))
