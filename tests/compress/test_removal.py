"""Removing heads, neurons and layers: the same as zeros, really smaller, saved and loaded."""

import dataclasses
import json

import pytest
import torch

from dlmlab.compress import activations, removal
from dlmlab.network import cost, parts
from dlmlab.network.checkpoint import CheckpointError, load_model
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import count_parameters
from tests.compress.cases import even_heads, logits, tiny_calibration
from tests.tiny import one_thread, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def no_tokens():
    calib = tiny_calibration()
    return dataclasses.replace(calib, real=torch.zeros_like(calib.real))


def test_removing_heads_equals_setting_their_weights_to_zero():
    dense, gone = even_heads(), {0: [1, 3], 1: [0]}
    small, zeroed = removal.remove_units(dense, "heads", gone), even_heads()
    for layer, heads in gone.items():
        for h in heads:
            zeroed.model.transformer["blocks"][layer].attn_out.weight.data[:, h * 8 : (h + 1) * 8] = 0
    assert torch.allclose(logits(small), logits(zeroed), atol=1e-5)
    assert not torch.allclose(logits(small), logits(dense), atol=1e-2)
    assert small.config.layer_heads == [2, 3]


def test_removing_neurons_equals_setting_their_weights_to_zero():
    dense, gone = even_heads(), {1: [0, 5, 47]}
    small, zeroed = removal.remove_units(dense, "neurons", gone), even_heads()
    zeroed.model.transformer["blocks"][1].ff_out.weight.data[:, gone[1]] = 0
    assert torch.allclose(logits(small), logits(zeroed), atol=1e-5)
    assert small.config.layer_mlp == [48, 45]
    assert count_parameters(dense) - count_parameters(small) == 3 * 3 * 32


def test_removing_a_layer_equals_a_block_that_adds_nothing():
    dense, zeroed = even_heads(), even_heads()
    block = zeroed.model.transformer["blocks"][0]
    block.attn_out.weight.data.zero_()
    block.ff_out.weight.data.zero_()
    assert torch.allclose(logits(removal.remove_layers(dense, [0])), logits(zeroed), atol=1e-5)


def test_a_smaller_model_is_saved_loaded_and_costs_less(tmp_path):
    dense = even_heads()
    small = removal.remove_units(dense, "neurons", {0: list(range(16)), 1: [3]})
    small = removal.remove_layers(removal.remove_units(small, "heads", {1: [2]}), [0])
    small.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    torch.testing.assert_close(logits(again), logits(small))
    assert again.config.layer_mlp == [47] and again.config.layer_heads == [3] and again.config.n_layers == 1
    assert cost.model_bytes(again) < cost.model_bytes(dense)
    assert cost.forward_flops(again.config, 10) < cost.forward_flops(dense.config, 10)


def test_counted_flops_of_a_smaller_model_are_those_of_its_matrices():
    small = removal.remove_units(even_heads(), "heads", {0: [0]})
    matrices = sum(W.numel() for W in parts.weights(small).values()) + 50 * 32
    assert cost.forward_flops(small.config, q=1, k=0) == 2 * matrices


@pytest.mark.parametrize(
    "key, value", [("layer_mlp", [48, 47]), ("layer_heads", [4, 4]), ("layer_mlp", [48]), ("layer_heads", [5, 1])]
)
def test_a_config_that_contradicts_the_tensors_is_a_checkpoint_error(tmp_path, key, value):
    removal.remove_units(removal.remove_units(even_heads(), "neurons", {1: [0, 1]}), "heads", {0: [0]}).save_pretrained(
        tmp_path
    )
    values = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(values | {key: value}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="layer_|blocks"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "values, text",
    [
        ({"layer_heads": [1, 2]}, "multiples of 2"),
        ({"layer_mlp": [48, 0]}, "positive"),
        ({"layer_mlp": [9]}, "needs 2"),
    ],
)
def test_a_layer_shape_that_cannot_be_is_refused(values, text):
    with pytest.raises(ValueError, match=text):
        LLaDAConfig(d_model=32, n_heads=4, n_kv_heads=2, n_layers=2, **values)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda m: removal.remove_units(m, "heads", {0: [0, 1, 2, 3]}), "at least one must stay"),
        (lambda m: removal.remove_units(m, "neurons", {0: [48]}), r"\[48\] of 0..47"),
        (lambda m: removal.remove_units(m, "neurons", {2: [0]}), "outside 0..1"),
        (lambda m: removal.remove_units(m, "columns", {0: [0]}), "known: heads, neurons"),
        (lambda m: removal.remove_layers(m, [0, 1]), "at least one"),
        (lambda m: removal.choose_units(m, "heads", 1.0, "magnitude"), "outside"),
        (lambda m: removal.choose_units(m, "heads", 0.5, "wanda"), "lacks norms"),
        (lambda m: removal.block_influence(m, no_tokens()), "over 0 tokens"),
        (
            lambda m: removal.remove_units(m, "heads", {1: [0]}, statistics=activations.collect(m, tiny_calibration())),
            "blocks.1.attn_out: .*gram=True",
        ),
    ],
)
def test_what_cannot_be_removed_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call(even_heads())


def test_heads_that_share_keys_are_refused():
    with pytest.raises(ValueError, match="share keys"):
        removal.remove_units(tiny_model(), "heads", {0: [0]})


def test_the_refit_is_closer_to_the_dense_output_than_leaving_out():
    dense, calib = even_heads(), tiny_calibration()
    found = activations.collect(dense, calib, gram=True)
    chosen = removal.choose_units(dense, "neurons", 0.5, "wanda", statistics=found)
    error = []
    for statistics in (None, found):
        small = removal.remove_units(dense, "neurons", {0: chosen[0]}, statistics=statistics)
        error.append(float((logits(small, calib.ids) - logits(dense, calib.ids)).square()[calib.real].mean()))
    assert error[1] < 0.9 * error[0]


def test_a_head_without_output_has_the_lowest_score():
    dense = even_heads()
    dense.model.transformer["blocks"][1].attn_out.weight.data[:, 8:16] = 0
    assert removal.choose_units(dense, "heads", 0.25, "magnitude")[1] == [1]


def test_a_block_that_adds_nothing_has_no_influence():
    dense, calib = even_heads(), tiny_calibration()
    dense.model.transformer["blocks"][1].attn_out.weight.data.zero_()
    dense.model.transformer["blocks"][1].ff_out.weight.data.zero_()
    first, second = removal.block_influence(dense, calib)
    assert first > 0.01 and abs(second) < 1e-6
    assert not any(block._forward_hooks for block in dense.model.transformer["blocks"])  # the model is as it was


def test_block_influence_is_over_real_tokens_only():
    dense, calib = even_heads(), tiny_calibration()
    with torch.no_grad():
        states = dense(calib.ids, calib.real, output_hidden_states=True).hidden_states
    cosine = torch.cosine_similarity(states[0], states[1], dim=-1)  # (B, L)
    assert abs(float(cosine.mean() - cosine[calib.real].mean())) > 1e-4
    first, _ = removal.block_influence(dense, calib, batch_size=5)
    assert first == pytest.approx(1 - float(cosine[calib.real].double().mean()), abs=1e-6)
