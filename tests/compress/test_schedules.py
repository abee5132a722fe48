"""Schedules of layers keep their mean and their limits."""

import math

import pytest

from dlmlab.compress import schedules


@pytest.mark.parametrize("sparsity", [0.0, 0.03, 0.5, 0.9, 0.95])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_schedule_keeps_its_mean_and_its_limits(sparsity, sign):
    plan = schedules.layer_sparsities(sparsity, [sign * i for i in range(6)], width=0.3)
    assert math.isclose(sum(plan) / 6, sparsity, abs_tol=1e-9)
    assert min(plan) >= 0 and max(plan) <= schedules.MAX_SPARSITY
    assert plan == sorted(plan, reverse=sign > 0)


def test_equal_importance_is_the_uniform_schedule():
    assert schedules.layer_sparsities(0.5, [3, 3, 3]) == [0.5] * 3


def test_a_mean_that_no_schedule_reaches_is_refused():
    with pytest.raises(ValueError, match="0.96"):
        schedules.layer_sparsities(0.96, [0, 1])


@pytest.mark.parametrize("importance, text", [([0, math.nan], "nan"), ([], "one importance a layer")])
def test_an_importance_that_orders_nothing_is_refused(importance, text):
    with pytest.raises(ValueError, match=text):
        schedules.layer_sparsities(0.5, importance)
