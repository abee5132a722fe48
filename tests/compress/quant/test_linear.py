"""A layer of packed weights computes what the dense layer with fake-quantized weights computes, bit for bit."""

import pytest
import torch
import torch.nn.functional as F

from dlmlab.compress.quant.grids import TERNARY, QSpec, fake_quantize, quantize
from dlmlab.compress.quant.linear import QuantLinear, model_bytes
from dlmlab.compress.quant.pack import Packed, pack
from tests.compress.quant.helpers import seeded
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "spec", [QSpec(4), QSpec(3, True, group=16), QSpec(8), TERNARY, QSpec(2, granularity="tensor")], ids=str
)
def test_the_output_is_that_of_the_fake_quantized_weights(spec):
    W, x = torch.randn(24, 48, generator=seeded()), torch.randn(2, 5, 48, generator=seeded(1))
    layer = QuantLinear.of(quantize(W, spec))
    assert torch.equal(layer(x), F.linear(x, fake_quantize(W, spec)))
    assert layer.nbytes == pack(quantize(W, spec)).nbytes == model_bytes(layer)
    assert f"bits={spec.bits}" in repr(layer)


def test_the_state_of_a_layer_makes_the_layer_again():
    layer = QuantLinear.of(quantize(torch.randn(8, 16, generator=seeded()), QSpec(3)))
    again = QuantLinear(Packed.read(layer.state_dict(), layer.packed.describe()))
    assert torch.equal(layer.weight, again.weight)


def test_a_damaged_layer_is_refused():
    packed = pack(quantize(torch.randn(8, 16, generator=seeded()), QSpec(3)))
    packed.scale[0] = float("nan")
    with pytest.raises(ValueError, match="damaged scale"):
        QuantLinear(packed)
