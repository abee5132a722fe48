"""Whole-number products: the kernel and the fallback give the same numbers, and those are right."""

import pytest
import torch

from dlmlab.compress.quant import int8
from dlmlab.compress.quant.grids import fake_quantize, quantize
from dlmlab.network.codes import QSpec, dequantize
from tests.compress.quant.helpers import seeded
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def pair(n: int = 19, k: int = 192, m: int = 24):
    g = seeded()
    return torch.randint(-128, 128, (n, k), generator=g).to(torch.int8), torch.randint(
        -128, 128, (k, m), generator=g
    ).to(torch.int8)


@pytest.mark.parametrize("n, k, m", [(1, 64, 8), (19, 192, 24), (64, 2047, 16)])
def test_products_are_exact_with_the_kernel_and_without_it(n, k, m, monkeypatch):
    a, b = pair(n, k, m)
    a[0], b[:, 0] = 127, 127  # the largest sum: odd and above 2^24, which float32 does not hold
    exact = a.long() @ b.long()
    assert torch.equal(int8.int_mm(a, b).long(), exact)
    monkeypatch.setattr(int8, "available", lambda device: False)
    assert torch.equal(int8.int_mm(a, b).long(), exact)


def test_a_kernel_that_adds_up_wrongly_or_is_missing_is_not_used(monkeypatch):
    a, b = pair()
    exact = a.long() @ b.long()

    def refuse(a, b):
        raise RuntimeError("not for this shape")

    for kernel in (lambda a, b: (a.long() @ b.long()).clamp(max=2**15).int(), refuse):
        monkeypatch.setattr(torch, "_int_mm", kernel)
        int8.available.cache_clear()
        assert not int8.available("cpu")
        assert torch.equal(int8.int_mm(a, b).long(), exact)
    int8.available.cache_clear()
    monkeypatch.setattr(int8, "available", lambda device: True)
    assert torch.equal(int8.int_mm(a, b).long(), exact)  # refused for one shape after the probe


def test_the_layer_is_that_of_fake_quantized_weights_and_inputs():
    g = seeded()
    W, x = torch.randn(24, 64, generator=g), torch.randn(2, 5, 64, generator=g)
    x[0, 0] *= 100  # a scale a token: the others do not notice
    layer = int8.Int8Linear(quantize(W, int8.WEIGHT))
    expected = fake_quantize(x, int8.TOKEN) @ fake_quantize(W, int8.WEIGHT).T
    assert torch.allclose(layer(x), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(layer(x)[1], layer(x[1:])[0])
    assert torch.equal(layer.weight, dequantize(quantize(W, int8.WEIGHT)))
    assert (layer(x) - x @ W.T).norm() < 0.02 * (x @ W.T).norm()


def test_what_has_no_int8_codes_is_refused():
    W = torch.randn(4, 8, generator=seeded())
    for spec in (QSpec(8), QSpec(9, True), QSpec(8, True, group=4), QSpec(8, True, "tensor")):
        with pytest.raises(ValueError, match="int8 products need"):
            int8.Int8Linear(quantize(W, spec))
    with pytest.raises(ValueError, match="int_mm multiplies int8"):
        int8.int_mm(W, W.T)
