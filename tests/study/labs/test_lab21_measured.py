"""Numbers beside the claims are read from tables, with the word that their table gave them."""

import numpy as np
import pytest

from dlmlab.measure.difference import Difference
from dlmlab.study.labs import lab21_measured as measured


def test_a_quoted_difference_has_the_word_of_its_table():
    d = measured.quoted("01_sampling", measured.STOPPED)
    assert d.low < d.mean < d.high < 0 and d.word == "lower"
    assert measured.of(Difference(-0.4, -0.7, -0.1, seeds=(-0.9, 0.1))).word == "no difference shown"
    with pytest.raises(KeyError, match="01_sampling has no 'nonsense'"):
        measured.number("01_sampling", "nonsense")


def test_every_claim_has_something_of_ours_that_is_found_in_the_tables():
    assert sorted(measured.EVIDENCE) == list(range(1, 13))
    for lines in measured.EVIDENCE.values():
        for what, unit, read in lines:
            d = read()
            assert d.low <= d.mean <= d.high and unit in ("points", "nats", "forwards"), what


def test_a_ratio_of_exact_multiples_is_sure_and_seeds_widen_it():
    a = np.random.default_rng(0).integers(1, 9, 300).astype(float)
    assert measured.ratio(3 * a, a) == pytest.approx((3, 3, 3))
    value, low, high = measured.ratio(np.stack([2 * a, 3 * a, 4 * a]), a)
    assert value == pytest.approx(3) and low < 2.5 and high > 3.5
    with pytest.raises(ValueError, match="as many problems"):
        measured.ratio([1.0, 2.0], [1.0])


def test_a_factor_from_the_published_baseline_is_larger_than_from_a_fair_one():
    factors = measured.factors([3.0, 4.0] * 20)
    assert [f.claim for f in factors] == [1, 3, 9, 11]
    for f in factors:
        assert f.fair[0] < f.theirs[0] and f.fair[1] <= f.fair[0] <= f.fair[2]
