"""A constant has no skill, a sure error costs more than doubt, and a share is what the best constant says."""

import pytest

from dlmlab.measure.forecast import brier, skill


def test_the_best_constant_is_the_share_that_happened():
    happened = [True, True, False, False, False]
    scores = {p / 20: brier([p / 20] * 5, happened) for p in range(21)}
    assert min(scores, key=scores.get) == 0.4
    assert skill([0.4] * 5, happened) == pytest.approx(0)
    assert all(skill([p] * 5, happened) <= 1e-12 for p in scores)


def test_a_coin_scores_a_quarter_whatever_happens():
    assert brier([0.5] * 3, [True, True, False]) == pytest.approx(0.25)


def test_one_sure_error_costs_more_than_doubt_about_three():
    assert brier([0.0, 0.0, 0.0, 0.0], [True, False, False, False]) > brier([0.6, 0.3, 0.3, 0.3], [True, *[False] * 3])


@pytest.mark.parametrize("said, happened", [([], []), ([0.5], [True, False]), ([1.5], [True]), ([-0.1], [False])])
def test_what_is_no_forecast_is_refused(said, happened):
    with pytest.raises(ValueError, match="said|lists"):
        brier(said, happened)


@pytest.mark.parametrize("happened", [[True, True], [False, False]])
def test_where_a_constant_is_perfect_there_is_no_skill(happened):
    with pytest.raises(ValueError, match="constant is perfect"):
        skill([0.5, 0.5], happened)
