"""What the tables of notebook 04 are made of: pairs of token weights, bottles with their texts."""

import pytest
import torch

from dlmlab.study import nb04_bottles, nb04_sinks
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
