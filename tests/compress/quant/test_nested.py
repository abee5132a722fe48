"""Nested weights: one set, two precisions, each as good as it says."""

import pytest
import torch

from dlmlab.compress.quant import nested as nesting
from dlmlab.compress.quant.grids import fake_quantize, quantize
from dlmlab.network.codes import QSpec
from dlmlab.network.packed import pack
from tests.compress.quant.helpers import seeded
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("symmetric, group", [(False, None), (False, 16), (True, 16)])
def test_nested_weights_are_the_4_bit_grid_and_nearly_the_8_bit_one(symmetric, group):
    W = torch.randn(64, 192, generator=seeded())
    spec = QSpec(4, symmetric, group=group)
    nested = nesting.nest(W, spec)
    assert torch.equal(nested.at(4), fake_quantize(W, spec))
    scale = quantize(W, spec).scale.float().repeat_interleave(group or 192, 1)
    error = (nested.at(8) - W).abs()
    assert (error <= scale / 16 * 1.001).all() and float((error <= scale / 32 * 1.001).float().mean()) > 0.95
    coarse, fine, eight = (
        float((new - W).square().mean())
        for new in (nested.at(4), nested.at(8), fake_quantize(W, QSpec(8, symmetric, group=group)))
    )
    assert fine < coarse / 150 and fine < 2 * eight
    assert nested.nbytes == pack(quantize(W, spec)).nbytes + W.numel() // 2
    with pytest.raises(ValueError, match="bits=6"):
        nested.at(6)
    with pytest.raises(ValueError, match="begin with 4 bits"):
        nesting.nest(W, QSpec(3))
