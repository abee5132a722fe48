"""Ways of few bits: those that need torch alone compute what they say; the others do where they are installed."""

import pytest
import torch

from dlmlab.measure import lowbit
from dlmlab.measure.onnxfile import quiet

W = torch.randn(64, 128, generator=torch.Generator().manual_seed(0)) / 10
MOST = {"bfloat16": 0.01, "float32": 1e-6}  # relative error of the output; else by the bits of the weights


@pytest.mark.parametrize("way", lowbit.WAYS)
def test_a_way_multiplies_the_matrix(way):
    how = lowbit.WAYS[way]
    if how.missing:
        pytest.skip(how.missing)  # 2026-11: packages that are not part of the installation
    with quiet():
        multiply, held = how.make(W)
        with torch.no_grad():
            y = multiply(torch.ones(3, 128))
    assert y.shape == (3, 64) and y.dtype == torch.float32 and held > 0
    most = MOST.get(way, 0.25 if "4" in how.weights else 0.05)
    found = lowbit.error(multiply, W)
    assert len(found) == 3 and max(found) < most


def test_bytes_are_those_that_are_held():
    assert lowbit.float32(W)[1] == 4 * W.numel() and lowbit.bfloat16(W)[1] == 2 * W.numel()
    assert lowbit.int4_weights(W)[1] == W.numel() // 2 + 2 * 2 * W.numel() // 32
    assert lowbit.int8_both(W)[1] == W.numel() + 4 * 64


def test_the_same_codes_as_our_own_grid():
    """Torch's kernel of four bits is our asymmetric grid, up to bfloat16."""
    from dlmlab.compress.quant.grids import fake_quantize
    from dlmlab.network.codes import QSpec

    new = fake_quantize(W, QSpec(4, group=32, scale="fp32"))
    x = torch.randn(5, 128, generator=torch.Generator().manual_seed(1))
    y = lowbit.int4_weights(W)[0](x)
    assert float((y - x @ new.T).norm() / y.norm()) < 0.02


def test_torch_dynamic_quantization_has_seven_bits_for_inputs_and_eight_where_asked():
    found = {}
    W = (
        torch.randn(64, 128, generator=torch.Generator().manual_seed(5)) / 10
    )  # of another seed than the inputs: sums of
    layer = torch.nn.Sequential(torch.nn.Linear(128, 64, bias=False))  # eight bits stay small, and no kernel clips them
    layer[0].weight.data.copy_(W)
    for reduce_range in (True, False):
        found[reduce_range] = sum(lowbit.error(lowbit.torch_dynamic_model(layer, reduce_range), W))
    step = float(W.abs().max()) / 127.5
    codes = (W / step).round() * step

    def by_hand(bits):
        def multiply(x):
            low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
            width = (high - low) / (2**bits - 1)
            return (x / width).round() * width @ codes.T

        return sum(lowbit.error(multiply, W))

    for reduce_range, bits in ((True, 7), (False, 8)):
        assert abs(found[reduce_range] / by_hand(bits) - 1) < 0.1 < by_hand(7) / by_hand(8) - 1


def test_what_is_absent_is_a_sentence():
    way = lowbit.Way(lowbit.float32, "float32", modules=("no_such",), pip="no-such")
    assert way.missing == "no_such not installed: `pip install no-such`"
