"""Rotation: Hadamard matrices are what they claim, the model does not notice, the outliers do."""

import pytest
import torch

from dlmlab.compress import activations
from dlmlab.compress.quant import rotation
from dlmlab.compress.quant.grids import fake_quantize
from dlmlab.network.checkpoint import load
from dlmlab.network.codes import QSpec
from tests.compress.quant.helpers import seeded, tiny_calibration
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("n", [1, 2, 4, 12, 20, 24, 32, 48, 192, 512])
def test_a_hadamard_matrix_is_orthogonal_with_equal_entries(n):
    H = rotation.hadamard(n)
    assert torch.allclose(H @ H.T, torch.eye(n, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(H.abs(), torch.full_like(H, n**-0.5))
    R = rotation.random_hadamard(n, seeded())
    assert torch.allclose(R @ R.T, torch.eye(n, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("n", [0, -4, 3, 6, 18, 100])
def test_orders_without_a_matrix_are_refused(n):
    with pytest.raises(ValueError, match=f"n={n}: no Hadamard matrix"):
        rotation.hadamard(n)


@pytest.mark.parametrize("heads, online", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("n_kv_heads", [2, 4])
def test_a_rotated_model_has_the_logits_of_the_model(heads, online, n_kv_heads):
    model, ids = tiny_model(n_kv_heads=n_kv_heads).double(), tiny_ids()
    new = rotation.rotate(model, seeded(), heads=heads, online=online)
    assert (new(ids).logits - model(ids).logits).abs().max() < 1e-4  # norms are float32 inside
    a, b = (m.model.transformer["blocks"][1] for m in (model, new))
    assert not torch.equal(a.q_proj.weight, b.q_proj.weight) and (b.attn_norm.weight == 1).all()
    assert bool(b.ff_out._forward_pre_hooks) == online


def test_llada_mini_does_not_notice():
    model, _ = load("llada-mini")
    ids = tiny_ids(2, 60, vocab=333)
    new = rotation.rotate(model, seeded())
    with torch.no_grad():
        assert (new(ids).logits - model(ids).logits).abs().max() < 1e-4


def test_absorbing_norms_changes_no_logit():
    model, ids = tiny_model().double(), tiny_ids()
    before = model(ids).logits
    rotation.absorb_norms(model)
    assert (model(ids).logits - before).abs().max() < 1e-5
    assert (model.model.transformer["ln_f"].weight == 1).all()


def test_an_outlier_is_spread_over_all_channels():
    x = torch.zeros(5, 192)
    x[torch.arange(5), torch.arange(5) * 7] = 10.0
    Q = rotation.random_hadamard(192, seeded()).float()
    assert rotation.peak(x) == pytest.approx(192**0.5, rel=1e-5)
    assert rotation.peak(x @ Q) == pytest.approx(1, rel=1e-4)


def test_rounding_costs_less_after_rotation():
    g = seeded()
    x, W = torch.randn(400, 64, generator=g), torch.randn(32, 64, generator=g)
    x[:, 3] *= 40
    Q, spec = rotation.random_hadamard(64, g).float(), QSpec(4, symmetric=True, granularity="token")
    plain = (fake_quantize(x, spec) - x) @ W.T
    turned = (fake_quantize(x @ Q, spec) - x @ Q) @ (W @ Q).T
    assert turned.norm() < 0.7 * plain.norm()


def test_what_comes_after_sees_the_rotated_input():
    """Statistics, and whatever else hooks the last matrix later, are of the input that meets the rotated weights."""
    model, calib = tiny_model(), tiny_calibration()
    plain, new = activations.collect(model, calib, gram=True), rotation.rotate(model, seeded(), heads=False)
    found = activations.collect(new, calib, gram=True)["blocks.0.ff_out"].gram
    turn = next(iter(new.model.transformer["blocks"][0].ff_out._forward_pre_hooks.values())).Q
    assert torch.allclose(found, turn.T @ plain["blocks.0.ff_out"].gram @ turn, rtol=1e-3, atol=1e-2)
