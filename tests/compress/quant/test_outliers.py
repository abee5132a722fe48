"""LLM.int8: all columns outliers is floating point, none is plain int8, and what lies between is between."""

import pytest
import torch

from dlmlab.compress.quant import outliers
from dlmlab.compress.quant.grids import quantize
from dlmlab.compress.quant.int8 import WEIGHT, Int8Linear
from tests.compress.quant.helpers import seeded
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def case():
    g = seeded()
    x, W = torch.randn(3, 7, 64, generator=g), torch.randn(24, 64, generator=g)
    x[:, 2, 10], x[1, 1, 20] = 60.0, -40.0
    return x, W


def test_the_two_ends():
    x, W = case()
    assert torch.equal(outliers.decomposed(x, W, 0.0), x @ W.T)
    assert torch.equal(outliers.decomposed(x, W, float("inf")), Int8Linear(quantize(W, WEIGHT))(x))
    assert torch.equal(outliers.DecomposedLinear(W, 0.0)(x), x @ W.T)


def test_taking_the_outliers_out_makes_the_rest_precise():
    x, W = case()
    exact = x @ W.T
    errors = [float((outliers.decomposed(x, W, t) - exact).norm() / exact.norm()) for t in (float("inf"), 6.0)]
    assert outliers.outlier_channels(x, 6.0).nonzero().flatten().tolist() == [10, 20]
    assert errors[1] < 0.4 * errors[0]


def test_thresholds_by_share_and_back():
    abs_max = torch.rand(200, generator=seeded()) * 10
    for share in (0.0, 0.01, 0.25, 1.0):
        found = outliers.share_above(abs_max, [outliers.threshold_for(abs_max, share)])
        assert found == [pytest.approx(share)]
    assert outliers.share_above(abs_max, [0.0, 20.0]) == [1.0, 0.0]


def test_thresholds_that_mean_nothing_are_refused():
    x, W = case()
    for bad in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="threshold="):
            outliers.decomposed(x, W, bad)
    with pytest.raises(ValueError, match="share=1.5"):
        outliers.threshold_for(torch.ones(3), 1.5)
