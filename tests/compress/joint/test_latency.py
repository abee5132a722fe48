"""The table of times: sums, shapes that were not timed, and a wider block that costs more."""

import pytest
import torch

from dlmlab.compress.joint import latency
from dlmlab.compress.joint.latency import Latency
from dlmlab.network import cost
from tests.tiny import one_thread, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
TABLE = Latency(4, 80, 2.0, {(6, 512): 4.0, (6, 256): 3.0, (4, 512): 3.5}, {"threads": 1})


def test_times_add_up():
    assert TABLE.forward([(6, 512), (6, 256)]) == 9.0
    assert TABLE.forward([]) == 2.0
    assert TABLE.problem([(6, 512)], 3.0) == 3.0 * 6.0 / 4
    with pytest.raises(ValueError, match=r"no block of .*\(1, 1\).* was timed; timed"):
        TABLE.forward([(1, 1)])


def test_a_table_survives_a_file():
    assert Latency.of(TABLE.plain()) == TABLE


def test_widths_out_of_order_are_listed():
    assert TABLE.disorder() == []
    odd = Latency(4, 80, 2.0, {(6, 512): 3.0, (6, 256): 4.0}, {})
    assert odd.disorder() == [((6, 512), (6, 256))]


def test_a_model_of_given_shapes_has_them():
    model = latency.shaped(tiny_model(n_kv_heads=4).config, [(4, 48), (2, 16), (4, 8)])
    assert [model.config.layer_shape(layer) for layer in range(3)] == [(4, 4, 48), (2, 2, 16), (4, 4, 8)]


def test_a_block_is_what_one_more_of_it_adds(monkeypatch):
    """With a clock that counts layers, the table has what the clock was told."""
    monkeypatch.setattr(
        cost,
        "interleaved",
        lambda functions, rounds, warmup: {
            (shape, depth): [(7 + depth * shape[1]) / 1000] * rounds for shape, depth in functions
        },
    )
    config = tiny_model(n_kv_heads=4).config
    table = latency.measure(config, [(4, 48), (4, 16)], machine={}, batch=2, tokens=8, rounds=2)
    assert table.blocks == {(4, 16): pytest.approx(16), (4, 48): pytest.approx(48)}
    assert table.rest == pytest.approx(7)


def test_it_times_real_models():
    config = tiny_model(n_kv_heads=4, d_model=128).config
    table = latency.measure(config, [(4, 512), (4, 8)], machine={}, batch=8, tokens=32, rounds=5)
    assert table.blocks[4, 512] > table.blocks[4, 8] and torch.isfinite(torch.tensor(table.rest))
