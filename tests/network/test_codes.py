"""What codes mean: specs that mean nothing are refused, bits are counted, damage is found."""

import pytest
import torch

from dlmlab.compress.quant.grids import quantize
from dlmlab.network.codes import TERNARY, QSpec, Quantized, cells, dequantize, scale_shape
from tests.compress.quant.helpers import seeded
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def matrix(R: int = 48, C: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(R, C, generator=seeded(seed))


def test_codes_times_scales_are_the_numbers():
    codes, scale = torch.tensor([[0, 1, 3, 2]], dtype=torch.int32), torch.tensor([[0.5, 2.0]])
    zero = torch.tensor([[1, 2]], dtype=torch.int32)
    q = Quantized(codes, scale, zero, QSpec(2, group=2, scale="fp32"), (1, 4))
    assert dequantize(q).tolist() == [[-0.5, 0.0, 2.0, 0.0]]


@pytest.mark.parametrize(
    "spec, shape", [(QSpec(4), (48, 1)), (QSpec(4, group=16), (48, 4)), (QSpec(4, granularity="tensor"), (1, 1))]
)
def test_a_scale_belongs_to_a_cell(spec, shape):
    assert scale_shape((48, 64), spec) == shape == tuple(quantize(matrix(), spec).scale.shape)
    assert cells(matrix(), spec).numel() == 48 * 64


@pytest.mark.parametrize(
    "spec, bits",
    [
        (QSpec(4, group=128), 4 + 20 / 128),
        (QSpec(4, group=32), 4 + 20 / 32),
        (QSpec(4, symmetric=True, group=128), 4 + 16 / 128),
        (QSpec(8, symmetric=True, scale="fp32"), 8 + 32 / 256),
        (QSpec(3, granularity="tensor"), 3 + 19 / (4 * 256)),
        (TERNARY, 1.6 + 16 / 256),
    ],
)
def test_real_bits_count_scales_and_zero_points(spec, bits):
    assert quantize(matrix(4, 256), spec).bits == pytest.approx(bits)


@pytest.mark.parametrize("bits", [0, 17, -1, 4.0, True, None])
def test_an_impossible_number_of_bits_is_refused(bits):
    with pytest.raises(ValueError, match="must be a whole number from 1 to 16"):
        QSpec(bits)


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"granularity": "column"}, "granularity='column' is unknown; known: tensor, row, token"),
        ({"rounding": "up"}, "rounding='up' is unknown"),
        ({"range": "max"}, "range='max' is unknown"),
        ({"scale": "fp8"}, "scale='fp8' is unknown"),
        ({"symmetric": "no"}, "symmetric='no' must be True or False"),
        ({"group": 0}, "group=0 must be"),
        ({"group": 16, "granularity": "tensor"}, "cuts rows"),
        ({"bits": 1, "symmetric": True}, "code 0 alone"),
        ({"range": "mean"}, "ternary"),
    ],
)
def test_a_spec_that_means_nothing_is_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        QSpec(**{"bits": 4} | changes)


@pytest.mark.parametrize(
    "damage, text",
    [(float("nan"), "nan or inf"), (float("inf"), "nan or inf"), (0.0, "hold 0"), (-0.1, "a negative number")],
)
def test_a_damaged_scale_is_refused(damage, text):
    q = quantize(matrix(), QSpec(4, group=16))
    q.scale[2, 1] = damage
    with pytest.raises(ValueError, match=f"damaged scale: 1 of 192 .*{text}"):
        dequantize(q)


def test_damaged_codes_are_refused():
    q = quantize(matrix(), QSpec(4))
    q.codes[0, 0] = 16
    with pytest.raises(ValueError, match=r"damaged code: 0..16, not 0..15"):
        dequantize(q)
    q = quantize(matrix(), QSpec(4))
    with pytest.raises(ValueError, match="damaged zero point"):
        dequantize(Quantized(q.codes, q.scale, None, q.spec, q.shape))
    with pytest.raises(ValueError, match="do not fit shape"):
        dequantize(Quantized(q.codes[:, :32], q.scale, q.zero, q.spec, q.shape))
