"""Libraries agree inside the box and differ outside; a gain is no property of two fronts."""

import pytest

from dlmlab.compress.joint import front
from dlmlab.study.labs import lab20_fronts as fronts

A = [(1, 4), (2, 2), (4, 1)]


def test_inside_the_box_all_agree_and_outside_one_refuses():
    for points in (A, [*A, (3, 3)], [*A, (2, 2)], [*A, (5, 0)]):
        assert set(fronts.libraries(points, (5, 5)).values()) == {"11"}
    outside = fronts.libraries([*A, (6, 0)], (5, 5))
    assert outside["moocore"] == outside["sweep"] == "11" and outside["optuna"] == "refused"


def test_a_number_that_is_none_is_dropped_in_silence_or_refused():
    found = fronts.libraries([(1, 4), (float("nan"), 1)], (5, 5))
    assert found == {"moocore": "4", "optuna": "refused", "sweep": "4", "dl.front": "refused"}


def test_golden_fronts():
    """Values of reference 4.2, made with other code."""
    X, Y = [(0, 4.9), (4.9, 0)], [(2.5, 2.5)]
    for r, x, y in ((5, 0.99, 6.25), (6, 11.99, 12.25), (8, 39.99, 30.25), (12, 119.99, 90.25)):
        assert front.hypervolume(X, (r, r)) == pytest.approx(x) and front.hypervolume(Y, (r, r)) == pytest.approx(y)
    assert front.hypervolume([(1, 2, 3), (2, 1, 3), (3, 3, 1)], (4, 4, 4)) == pytest.approx(10)


def test_a_gain_grows_as_the_reference_comes_near():
    ours, theirs = [(1.0, 1.0)], [(2.0, 2.0)]
    gains = [fronts.gain(ours, theirs, (r, r)) for r in (100, 10, 3, 2.1)]
    assert gains == sorted(gains) and gains[0] < 3 and gains[-1] > 10_000
    assert fronts.gain(ours, theirs, (2, 2)) == float("inf")


def test_searches_of_notebook_06_have_three_budgets():
    for method in fronts.METHODS:
        assert len(fronts.searched(method)) == 3
        assert [b for b, _ in fronts.searched(method, 0)] == sorted(b for b, _ in fronts.searched(method, 0))
