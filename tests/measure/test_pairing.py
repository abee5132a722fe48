"""What two methods share drops out of the paired error, and the formula agrees with the bootstrap of the course."""

import math
import random

import pytest

from dlmlab.measure.difference import between
from dlmlab.measure.pairing import standard_errors


def test_a_hardness_that_both_feel_drops_out_of_the_paired_error():
    rng = random.Random(0)
    hard = [rng.gauss(0, 10) for _ in range(200)]
    a, b = ([h + rng.gauss(0, 1) for h in hard] for _ in range(2))
    paired, apart = standard_errors(a, b)
    assert paired < apart / 4


def test_pairing_hurts_where_one_is_right_when_the_other_is_wrong():
    paired, apart = standard_errors([1, 0] * 10, [0, 1] * 10)
    assert paired == pytest.approx(apart * math.sqrt(2))


def test_the_paired_error_is_that_of_the_bootstrap():
    rng = random.Random(1)
    a = [float(rng.random() < 0.8) for _ in range(400)]
    b = [x if rng.random() < 0.8 else float(rng.random() < 0.6) for x in a]
    d = between(a, b)
    assert (d.high - d.low) / 2 / 1.96 == pytest.approx(standard_errors(a, b)[0], rel=0.1)


@pytest.mark.parametrize("a, b", [([1], [1]), ([], []), ([1, 0], [1, 0, 1])])
def test_too_few_or_unequal_problems_are_refused(a, b):
    with pytest.raises(ValueError, match="two equally long"):
        standard_errors(a, b)
