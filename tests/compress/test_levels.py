"""Masks that know the noise level: agreement, the switch, statistics over levels."""

import pytest
import torch

from dlmlab.compress import activations, levels, pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.decode import sampling
from dlmlab.decode.sampling import Sampler
from dlmlab.network import parts
from tests.compress.cases import even_heads, logits, seeded, tiny_calibration
from tests.tiny import one_thread, tiny_ids

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_agreement_is_1_with_itself_and_near_chance_with_random_masks():
    a, b = (pruning.prune(even_heads(), Recipe("random", 0.5), generator=seeded(s)) for s in (0, 1))
    assert levels.removed_agreement(a, a) == 1
    assert levels.removed_agreement(a, b) == pytest.approx(1 / 3, abs=0.02)  # s / (2 - s)
    assert levels.removed_agreement(even_heads(), even_heads()) == 1


def test_the_switch_sends_each_row_to_its_model():
    a, b, ids = even_heads(), even_heads(seed=1), tiny_ids(3, 12, vocab=49) + 1
    ids[0, 4:] = 0
    ids[1, 11:] = 0
    both = levels.Switched(a, b, tau=0.5, answer_length=8)
    out = logits(both, ids)
    assert torch.allclose(out[:1], logits(a, ids[:1]), atol=1e-5)
    assert torch.allclose(out[1:], logits(b, ids[1:]), atol=1e-5)
    with pytest.raises(ValueError, match="tau=1.5"):
        levels.Switched(a, b, tau=1.5)


def test_a_switched_model_decodes_like_any_other():
    m, prompts = even_heads(), [[1, 5, 9], [1, 7]]
    same = levels.Switched(m, m, tau=0.5, answer_length=6)
    ours, theirs = (sampling.sample(net, prompts, gen_length=6, sampler=Sampler()) for net in (same, m))
    assert torch.equal(ours.ids, theirs.ids)


def test_two_masks_cost_the_union_and_their_bits():
    a, b = (pruning.prune(even_heads(), Recipe("random", 0.5), generator=seeded(s)) for s in (0, 1))
    one, two = levels.union_bytes([a]), levels.union_bytes([a, b])
    weights = sum(W.numel() for W in parts.weights(a).values())
    assert two - one == pytest.approx(0.25 * 4 * weights + weights / 8, rel=0.03)
    assert levels.union_bytes([a, a]) - one == weights / 8


def test_a_weight_of_the_level_is_applied_to_squares():
    calib = tiny_calibration()
    weights = levels.time_weights(calib, lambda t: 4 * t)
    assert torch.allclose(weights.square(), 4 * calib.t[:, None] * calib.real)


def test_the_robust_statistic_is_the_largest_scaled_one():
    dense, calib = even_heads(), tiny_calibration()
    parts = [activations.collect(dense, half) for half in (calib.rows(calib.text % 2 == k) for k in (0, 1))]
    worst = levels.robust(parts)["blocks.0.ff_out"].sum_sq
    scaled = [p["blocks.0.ff_out"].sum_sq / p["blocks.0.ff_out"].sum_sq.mean() for p in parts]
    assert torch.allclose(worst, torch.maximum(*scaled))
    parts[1]["blocks.0.ff_out"].sum_sq.zero_()  # nothing but zeros at this level: it has no say
    assert torch.allclose(levels.robust(parts)["blocks.0.ff_out"].sum_sq, scaled[0])
