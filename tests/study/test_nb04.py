"""What the tables of notebook 04 are made of: pairs of token weights, bottles with their texts."""

import itertools

import pytest
import torch

from dlmlab.study import nb04_bottles, nb04_recovery, nb04_sinks
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_weights_are_compared_where_both_were_measured_and_nowhere_else():
    rows = [
        {"m": m, "weight": w, "sparsity": s, "seed": 0, "nats": [value, value + 1]}
        for m, w, s, value in (
            ("a", "sink", 0.5, 3),
            ("a", "shuffled", 0.5, 1),
            ("a", "sink", 0.7, 9),
            ("b", "sink", 0.5, 7),
        )
    ]
    found = nb04_sinks.over_sparsities(rows, "sink", "shuffled", m="a")
    assert list(found) == ["50 %"] and found["50 %"].mean == 2.0
    with pytest.raises(ValueError, match="no row"):
        nb04_sinks.over_sparsities(rows, "sink", "shuffled", m="b")


def test_every_weight_has_a_control_with_as_much_weight_at_other_places():
    for kind, control in nb04_sinks.CONTROL.items():
        a, b = (nb04_sinks.token_weights("llama-mini", w, seed=0)[:2] for w in (kind, control))
        assert torch.allclose(a.sort(1).values, b.sort(1).values, atol=1e-6) and not torch.allclose(a, b, atol=1e-2)


def test_the_flagged_tokens_alone_stand_beside_as_few_tokens_of_any_kind():
    keys = [(k["model"], k["weight"], k["sparsity"], k["seed"]) for k in nb04_sinks.settings()]
    for model in nb04_sinks.MODELS:
        for weight in nb04_sinks.FLAGGED:
            assert all((model, weight, s, seed) in keys for s in nb04_sinks.SPARSITIES for seed in nb04_sinks.SEEDS)


def test_a_bottle_is_pruned_by_the_weights_it_is_given():
    """Of a bottle that was hardly trained: its texts are the recipe's, and another weight gives another loss."""
    calib = nb04_bottles.states("short", 0)
    assert len(calib) == 10 * nb04_bottles.GRID_TEXTS and bool(calib.masked.any())
    assert not nb04_bottles.states("causal", 0).masked.any()
    model, statistics = nb04_bottles.young("causal", 0)
    losses = {
        w: nb04_bottles.text_nats(nb04_bottles.pruned(model, statistics, w, 0.7), "causal", 0)
        for w in ("ones", "inverted")
    }
    assert len(losses["ones"]) == nb04_bottles.GROUPS and losses["ones"] != losses["inverted"]


# ------------------------------------------------------------------------------------------------ recovery


def test_a_change_is_a_row_against_the_same_model_before_any_step():
    """The dense model before any step is one row without a seed: it stands against every seed."""
    rows = [
        nb04_recovery.arm("dense", steps, lr, seed) | {"correct": correct, "nats": nats}
        for steps, lr, seed, correct, nats in (
            (0, 0.0, None, "1111", [1.0, 2.0]),
            (60, 1e-3, 0, "1110", [2.0, 3.0]),
            (60, 1e-3, 1, "1100", [3.0, 4.0]),
            (60, 1e-4, 0, "1111", [1.0, 2.0]),
        )
    ]
    found = nb04_recovery.change(rows, "dense", 1e-3)
    assert found["points"].mean == -37.5 and found["points"].seeds == (-25, -50)
    assert found["nats"].mean == 1.5 and found["nats"].word == "higher"


def test_the_seed_of_a_recovery_draws_its_batches_and_the_texts_of_what_is_pruned(monkeypatch):
    seen = []
    monkeypatch.setattr(nb04_recovery.recovery, "recover", lambda model, config, steps: seen.append((config, steps)))
    monkeypatch.setattr(nb04_recovery, "pruned", lambda curve, sparsity, seed: seen.append(seed))
    for seed in (0, 1):
        nb04_recovery.after("Wanda 70 %", 1e-3, seed, steps=2)
    (first, a, second, b) = seen
    assert (first, second) == (0, 1) and a[0].seed != b[0].seed != 0 and a[1] == 2
    assert a[0].lr == 1e-3 and a[0].tokens == nb04_recovery.STEPS * nb04_recovery.ROWS * 64


def test_every_run_has_its_dense_control_in_three_seeds():
    keys = [tuple(key.values()) for key in nb04_recovery.settings()]
    for kind, lr, seed in itertools.product(nb04_recovery.KINDS, nb04_recovery.RATES, nb04_recovery.SEEDS):
        assert (kind, nb04_recovery.STEPS, lr, seed) in keys
    assert "dense" in nb04_recovery.KINDS and ("dense", 0, 0.0, None) in keys and ("dense", 0, 0.0, 0) not in keys
    assert len(keys) == len(set(keys)) and len(nb04_recovery.SEEDS) == 3
