"""Removing heads, neurons and layers: the same as zeros, really smaller, saved and loaded; masks that know the time."""

import dataclasses
import json

import pytest
import torch

from dlmlab.compress import activations, adaptive, pruning, recovery, structured
from dlmlab.compress.pruning import Recipe
from dlmlab.decode import sampling
from dlmlab.decode.sampling import Sampler
from dlmlab.network import cost
from dlmlab.network.checkpoint import CheckpointError, load_model
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import count_parameters
from dlmlab.objective.batches import TrainConfig
from tests.compress.test_pruning import seeded, tiny_calibration
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def model(**changes):
    return tiny_model(**{"n_kv_heads": 4} | changes)


def no_tokens():
    calib = tiny_calibration()
    return dataclasses.replace(calib, real=torch.zeros_like(calib.real))


def logits(m, ids=None):
    with torch.inference_mode():
        return m(tiny_ids() if ids is None else ids).logits


# ------------------------------------------------------------------------------------------------ removal


def test_removing_heads_equals_setting_their_weights_to_zero():
    dense, gone = model(), {0: [1, 3], 1: [0]}
    small, zeroed = structured.remove_units(dense, "heads", gone), model()
    for layer, heads in gone.items():
        for h in heads:
            zeroed.model.transformer["blocks"][layer].attn_out.weight.data[:, h * 8 : (h + 1) * 8] = 0
    assert torch.allclose(logits(small), logits(zeroed), atol=1e-5)
    assert not torch.allclose(logits(small), logits(dense), atol=1e-2)
    assert small.config.layer_heads == [2, 3]


def test_removing_neurons_equals_setting_their_weights_to_zero():
    dense, gone = model(), {1: [0, 5, 47]}
    small, zeroed = structured.remove_units(dense, "neurons", gone), model()
    zeroed.model.transformer["blocks"][1].ff_out.weight.data[:, gone[1]] = 0
    assert torch.allclose(logits(small), logits(zeroed), atol=1e-5)
    assert small.config.layer_mlp == [48, 45]
    assert count_parameters(dense) - count_parameters(small) == 3 * 3 * 32


def test_removing_a_layer_equals_a_block_that_adds_nothing():
    dense, zeroed = model(), model()
    block = zeroed.model.transformer["blocks"][0]
    block.attn_out.weight.data.zero_()
    block.ff_out.weight.data.zero_()
    assert torch.allclose(logits(structured.remove_layers(dense, [0])), logits(zeroed), atol=1e-5)


def test_a_smaller_model_is_saved_loaded_and_costs_less(tmp_path):
    dense = model()
    small = structured.remove_units(dense, "neurons", {0: list(range(16)), 1: [3]})
    small = structured.remove_layers(structured.remove_units(small, "heads", {1: [2]}), [0])
    small.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    torch.testing.assert_close(logits(again), logits(small))
    assert again.config.layer_mlp == [47] and again.config.layer_heads == [3] and again.config.n_layers == 1
    assert cost.model_bytes(again) < cost.model_bytes(dense)
    assert cost.forward_flops(again.config, 10) < cost.forward_flops(dense.config, 10)


def test_counted_flops_of_a_smaller_model_are_those_of_its_matrices():
    small = structured.remove_units(model(), "heads", {0: [0]})
    matrices = sum(W.numel() for _, W in pruning.prunable(small)) + 50 * 32
    assert cost.forward_flops(small.config, q=1, k=0) == 2 * matrices


@pytest.mark.parametrize(
    "key, value", [("layer_mlp", [48, 47]), ("layer_heads", [4, 4]), ("layer_mlp", [48]), ("layer_heads", [5, 1])]
)
def test_a_config_that_contradicts_the_tensors_is_a_checkpoint_error(tmp_path, key, value):
    structured.remove_units(
        structured.remove_units(model(), "neurons", {1: [0, 1]}), "heads", {0: [0]}
    ).save_pretrained(tmp_path)
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
        (lambda m: structured.remove_units(m, "heads", {0: [0, 1, 2, 3]}), "at least one must stay"),
        (lambda m: structured.remove_units(m, "neurons", {0: [48]}), r"\[48\] of 0..47"),
        (lambda m: structured.remove_units(m, "neurons", {2: [0]}), "outside 0..1"),
        (lambda m: structured.remove_units(m, "columns", {0: [0]}), "known: heads, neurons"),
        (lambda m: structured.remove_layers(m, [0, 1]), "at least one"),
        (lambda m: structured.choose_units(m, "heads", 1.0, "magnitude"), "outside"),
        (lambda m: structured.choose_units(m, "heads", 0.5, "wanda"), "lacks norms"),
        (lambda m: structured.block_influence(m, no_tokens()), "over 0 tokens"),
        (
            lambda m: structured.remove_units(
                m, "heads", {1: [0]}, statistics=activations.collect(m, tiny_calibration())
            ),
            "blocks.1.attn_out: .*gram=True",
        ),
    ],
)
def test_what_cannot_be_removed_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call(model())


def test_heads_that_share_keys_are_refused():
    with pytest.raises(ValueError, match="share keys"):
        structured.remove_units(tiny_model(), "heads", {0: [0]})


# ------------------------------------------------------------------------------------------------ choosing


def test_the_refit_is_closer_to_the_dense_output_than_leaving_out():
    dense, calib = model(), tiny_calibration()
    found = activations.collect(dense, calib, gram=True)
    chosen = structured.choose_units(dense, "neurons", 0.5, "wanda", statistics=found)
    error = []
    for statistics in (None, found):
        small = structured.remove_units(dense, "neurons", {0: chosen[0]}, statistics=statistics)
        error.append(float((logits(small, calib.ids) - logits(dense, calib.ids)).square()[calib.real].mean()))
    assert error[1] < 0.9 * error[0]


def test_a_head_without_output_has_the_lowest_score_and_is_the_cheapest_to_leave_out():
    dense = model()
    dense.model.transformer["blocks"][1].attn_out.weight.data[:, 8:16] = 0
    assert structured.choose_units(dense, "heads", 0.25, "magnitude")[1] == [1]
    base = logits(dense)
    rise = structured.leave_one_out(dense, "heads", lambda m: float((logits(m) - base).square().mean()))
    assert len(rise) == 8 and min(rise, key=rise.get) == (1, 1) and rise[1, 1] < 1e-10


def test_a_block_that_adds_nothing_has_no_influence():
    dense, calib = model(), tiny_calibration()
    dense.model.transformer["blocks"][1].attn_out.weight.data.zero_()
    dense.model.transformer["blocks"][1].ff_out.weight.data.zero_()
    first, second = structured.block_influence(dense, calib)
    assert first > 0.01 and abs(second) < 1e-6
    rise = structured.leave_one_out(dense, "layers", lambda m: float(logits(m).square().mean()))
    assert abs(rise[1,]) < 1e-6 < abs(rise[0,])


# ------------------------------------------------------------------------------------------------ noise levels


def test_agreement_is_1_with_itself_and_near_chance_with_random_masks():
    a, b = (pruning.prune(model(), Recipe("random", 0.5), generator=seeded(s)) for s in (0, 1))
    assert adaptive.removed_agreement(a, a) == 1
    assert adaptive.removed_agreement(a, b) == pytest.approx(1 / 3, abs=0.02)  # s / (2 - s)
    assert adaptive.removed_agreement(model(), model()) == 1


def test_the_switch_sends_each_row_to_its_model():
    a, b, ids = model(), model(seed=1), tiny_ids(3, 12, vocab=49) + 1
    ids[0, 4:] = 0
    ids[1, 11:] = 0
    both = adaptive.Switched(a, b, tau=0.5, answer_length=8)
    out = logits(both, ids)
    assert torch.allclose(out[:1], logits(a, ids[:1]), atol=1e-5)
    assert torch.allclose(out[1:], logits(b, ids[1:]), atol=1e-5)
    with pytest.raises(ValueError, match="tau=1.5"):
        adaptive.Switched(a, b, tau=1.5)


def test_a_switched_model_decodes_like_any_other():
    m, prompts = model(), [[1, 5, 9], [1, 7]]
    same = adaptive.Switched(m, m, tau=0.5, answer_length=6)
    ours, theirs = (sampling.sample(net, prompts, gen_length=6, sampler=Sampler()) for net in (same, m))
    assert torch.equal(ours.ids, theirs.ids)


def test_two_masks_cost_the_union_and_their_bits():
    a, b = (pruning.prune(model(), Recipe("random", 0.5), generator=seeded(s)) for s in (0, 1))
    one, two = adaptive.union_bytes([a]), adaptive.union_bytes([a, b])
    weights = sum(W.numel() for _, W in pruning.prunable(a))
    assert two - one == pytest.approx(0.25 * 4 * weights + weights / 8, rel=0.03)
    assert adaptive.union_bytes([a, a]) - one == weights / 8


def test_a_weight_of_the_level_is_applied_to_squares():
    calib = tiny_calibration()
    weights = adaptive.time_weights(calib, lambda t: 4 * t)
    assert torch.allclose(weights.square(), 4 * calib.t[:, None] * calib.real)


def test_the_robust_statistic_is_the_largest_scaled_one():
    dense, calib = model(), tiny_calibration()
    parts = [activations.collect(dense, half) for half in (calib.rows(calib.text % 2 == k) for k in (0, 1))]
    worst = adaptive.robust(parts)["blocks.0.ff_out"].sum_sq
    scaled = [p["blocks.0.ff_out"].sum_sq / p["blocks.0.ff_out"].sum_sq.mean() for p in parts]
    assert torch.allclose(worst, torch.maximum(*scaled))
    parts[1]["blocks.0.ff_out"].sum_sq.zero_()  # nothing but zeros at this level: it has no say
    assert torch.allclose(adaptive.robust(parts)["blocks.0.ff_out"].sum_sq, scaled[0])


# ------------------------------------------------------------------------------------------------ recovery


def test_recovery_trains_and_keeps_the_zeros():
    from dlmlab.objective.training import build_model

    config = TrainConfig(
        "t",
        d_model=16,
        n_heads=2,
        n_layers=1,
        mlp_hidden_size=24,
        rows=4,
        tokens=2000,
        compile=False,
        bf16=False,
        threads=1,
    )
    small = pruning.prune(build_model(config).eval(), Recipe("magnitude", 0.5))
    after = recovery.recover(small, config, steps=2)
    assert pruning.sparsity_of(after) == pytest.approx(0.5, abs=0.01)
    for (_, old), (_, new) in zip(pruning.prunable(small), pruning.prunable(after), strict=True):
        assert not new[old == 0].any() and not torch.equal(old, new)
    with pytest.raises(ValueError, match="steps=0"):
        recovery.recover(small, config, steps=0)
