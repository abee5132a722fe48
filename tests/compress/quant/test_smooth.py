"""SmoothQuant: both sides equally large at one half, and a model that stays the same."""

import pytest
import torch

from dlmlab.compress import activations
from dlmlab.compress.quant import smooth
from dlmlab.network import parts
from tests.compress.quant.helpers import seeded, tiny_calibration
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_alpha_shares_the_difficulty():
    g = seeded()
    W, a = torch.randn(8, 32, generator=g), torch.rand(32, generator=g) * 10 + 0.1
    w = W.abs().amax(0)
    for alpha, activation, weight in (
        (0.5, (a * w).sqrt(), (a * w).sqrt()),
        (1.0, torch.ones(32), a * w),
        (0.0, a * w, None),
    ):
        s = smooth.migration(W, a, alpha)
        assert torch.allclose(a / s, activation, rtol=1e-4)
        if weight is not None:
            assert torch.allclose(w * s, weight, rtol=1e-4)


@pytest.mark.parametrize("sites", [parts.NORMED, tuple(parts.MAKERS)])
@pytest.mark.parametrize("alpha", [0.5, 0.85])
def test_the_smoothed_model_has_the_logits_of_the_model_and_smaller_outliers(sites, alpha):
    model, ids = tiny_model(n_kv_heads=4).double(), tiny_ids()
    found = activations.collect(model, tiny_calibration())
    new, scaled = smooth.smooth(model, found, alpha, sites=sites)
    assert (new(ids).logits - model(ids).logits).abs().max() < 1e-5
    for name in ("blocks.0.q_proj", "blocks.1.up_proj"):
        before, after = found[name].abs_max, scaled[name].abs_max
        assert after.max() / after.median() < before.max() / before.median()


def test_an_alpha_outside_0_to_1_is_refused():
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="alpha"):
            smooth.migration(torch.ones(2, 2), torch.ones(2), alpha)
