"""Two groups of problems of unlike kinds: only what the kinds do not explain is a difference."""

import numpy as np
import pytest

from dlmlab.measure import matched
from dlmlab.measure.evaluate import Proportion

OURS = [True] * 30 + [False] * 60  # 20 easy and 10 hard of ours, 10 easy and 50 hard of the others
KINDS = ["easy"] * 20 + ["hard"] * 10 + ["easy"] * 10 + ["hard"] * 50
OTHERS = [not one for one in OURS]
W = matched.weights(OURS, OTHERS, KINDS)


def test_a_difference_of_kinds_is_none_of_the_groups():
    value = [1.0 if kind == "easy" else 5.0 for kind in KINDS]
    plain = np.mean(value[:30]) - np.mean(value[30:])
    assert plain < -1 and matched.of_values([value], W, KINDS).mean == pytest.approx(0.0)


def test_a_difference_of_the_groups_is_found_inside_the_kinds():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.3, (2, 90))
    found = matched.of_values(noise + [1.0 if one else 0.0 for one in OURS], W, KINDS)
    assert found.low < 1.0 < found.high and found.word == "higher" and len(found.seeds) == 2


def test_the_weights_of_each_group_sum_to_one_and_a_kind_without_partner_has_none():
    assert W[:30].sum() == pytest.approx(1) and W[30:].sum() == pytest.approx(-1)
    lone = matched.weights([True, True, False], [False, False, True], ["a", "b", "a"])
    assert lone.tolist() == [1.0, 0.0, -1.0]
    third = matched.weights([True, False, False], [False, True, False], ["a", "a", "a"])  # in neither group
    assert third.tolist() == [1.0, -1.0, 0.0]


def test_groups_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="share no kind"):
        matched.weights([True, False], [False, True], ["a", "b"])
    with pytest.raises(ValueError, match="in both groups"):
        matched.weights([True, True], [False, True], ["a", "a"])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(2), 0
    for _ in range(40):
        values = rng.normal(0, 1, 90) + [3.0 if kind == "hard" else 0.0 for kind in KINDS]
        found = matched.of_values([values], W, KINDS)
        hits += found.low <= 0 <= found.high
    assert 34 <= hits


def test_shares_all_right_still_have_an_interval_as_wide_as_wilson():
    found = matched.of_shares("1" * 90, W)
    assert found.mean == pytest.approx(0) and found.low == pytest.approx(Proportion(30, 30).interval[0] - 1)
    assert found.high > 1 - Proportion(60, 60).interval[0]  # the others are weighted: fewer than they are


def test_without_kinds_shares_are_those_of_newcombe():
    """Newcombe 1998, table II, row (a): 56/70 against 48/80, method 10: 0.0524 to 0.3339."""
    ours = [True] * 70 + [False] * 80
    w = matched.weights(ours, [not one for one in ours], ["a"] * 150)
    found = matched.of_shares("1" * 56 + "0" * 14 + "1" * 48 + "0" * 32, w)
    assert found.mean == pytest.approx(0.2) and (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
