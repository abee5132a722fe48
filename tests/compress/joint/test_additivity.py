"""Sums that rank well may still be far off."""

import numpy as np
import pytest

from dlmlab.compress.joint.additivity import additivity


def test_ranks_and_values_are_told_apart():
    x = np.arange(1.0, 9.0)
    doubled = additivity(x, 2 * x)
    assert doubled.spearman == 1 and doubled.slope == 2 and doubled.r2_line == 1 and doubled.r2 < 0.1
    turned = additivity(x, -x)
    assert turned.spearman == -1 and turned.r2 < 0
    noise = np.random.default_rng(0).normal(size=200)
    unrelated = additivity(noise, np.roll(noise, 50))
    assert abs(unrelated.spearman) < 0.2 and unrelated.r2_line < 0.05


def test_too_few_models_are_refused():
    for proxy, truth in (([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [1, 2])):
        with pytest.raises(ValueError, match="three models"):
            additivity(proxy, truth)
