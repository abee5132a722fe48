"""A fit finds the law that made its points, if it is given the right floor."""

import numpy as np
import pytest

from dlmlab.study.labs import lab12_scaling as scaling
from dlmlab.study.labs import lab12_toy as toy


@pytest.mark.parametrize("floor", ["known", "fitted"])
def test_a_fit_finds_the_exponent_of_a_law(floor):
    x = np.array([1e3, 4e3, 2e4, 8e4])
    b, E, left = scaling.exponent(x, toy.entropy() + 5 * x**-0.4, floor)
    assert b == pytest.approx(0.4, abs=0.03) and E == pytest.approx(toy.entropy(), abs=0.02) and left < 0.05


def test_a_fit_without_a_floor_finds_another_one():
    x = np.array([1e3, 4e3, 2e4, 8e4])
    assert scaling.exponent(x, toy.entropy() + 5 * x**-0.4, "none")[0] < 0.1
