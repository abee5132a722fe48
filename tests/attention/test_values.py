"""Values on their way: they are what the change makes of them, only while it is open, and attention stays."""

import pytest
import torch

from dlmlab.attention import sinks, values
from dlmlab.network import parts
from tests.tiny import one_thread, tiny_ids, tiny_model  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(tiny_ids()).logits


def test_a_change_of_values_is_a_change_of_the_weights_that_make_them():
    model, scaled = tiny_model(), tiny_model()
    with torch.no_grad():
        for block in parts.blocks(scaled):
            getattr(block, parts.VALUE).weight *= 0.5
    with values.through(model, lambda v: v / 2):
        torch.testing.assert_close(logits(model), logits(scaled))
    assert not torch.allclose(logits(model), logits(scaled))


def test_every_layer_is_read_in_order_and_looking_changes_nothing():
    model, seen = tiny_model(), []
    before = logits(model)
    with values.through(model, seen.append):
        assert torch.equal(logits(model), before)
    assert [tuple(v.shape) for v in seen] == [(2, 12, 16)] * 2  # two heads of keys and values, eight wide
    first = parts.blocks(model)[0]
    wanted = getattr(first, parts.VALUE)(first.attn_norm(parts.embed(model, tiny_ids())))
    torch.testing.assert_close(seen[0], wanted)


def test_changes_run_in_the_order_in_which_they_were_opened():
    model, seen = tiny_model(), []
    with values.through(model, lambda v: v * 0 + 1), values.through(model, lambda v: v * 3):
        with values.through(model, seen.append):
            logits(model)
    assert all(bool((v == 3).all()) for v in seen)


def test_attention_of_the_first_layer_does_not_see_the_values():
    model = tiny_model()
    before = sinks.attention_maps(model, tiny_ids())
    with values.through(model, lambda v: -v):
        after = sinks.attention_maps(model, tiny_ids())
    assert torch.equal(before[0], after[0]) and not torch.allclose(before[1], after[1])


def test_the_values_are_back_after_an_error():
    model = tiny_model()
    before = logits(model)
    with pytest.raises(RuntimeError, match="on purpose"), values.through(model, torch.zeros_like):
        raise RuntimeError("on purpose")
    assert torch.equal(logits(model), before)
