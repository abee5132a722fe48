"""Rounding to nearest is the grid itself, and the output error is that of real outputs."""

import pytest
import torch

from dlmlab.compress.quant.grids import fake_quantize
from dlmlab.compress.quant.rtn import output_error, rtn
from dlmlab.network.codes import QSpec, dequantize
from tests.compress.quant.helpers import toy


def test_rtn_looks_at_no_texts():
    W, found, _ = toy()
    assert torch.equal(dequantize(rtn(W, found, QSpec(3))), fake_quantize(W, QSpec(3)))
    assert torch.equal(dequantize(rtn(W, None, QSpec(3))), fake_quantize(W, QSpec(3)))


def test_the_output_error_is_that_of_the_outputs():
    W, found, X = toy(C=16, R=5, n=300)
    new = dequantize(rtn(W, None, QSpec(3)))
    direct = (X.double() @ (W - new).double().T).square().sum() / (X.double() @ W.double().T).square().sum()
    assert output_error(W, new, found.gram) == pytest.approx(float(direct), rel=1e-5)
    assert output_error(W, W, found.gram) == 0
