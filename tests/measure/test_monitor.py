"""A threshold keeps its promise on validation, whatever the scores; an area is a probability of pairs."""

import pytest
import torch

from dlmlab.measure.monitor import alarms, area, curve


@pytest.mark.parametrize("at_most", [0.0, 0.05, 0.5])
def test_the_promise_is_kept_on_validation_and_as_nearly_as_it_can_be(at_most):
    scores = torch.rand(200, generator=torch.Generator().manual_seed(0))
    everyone = torch.ones(200, dtype=torch.bool)
    assert int(alarms(scores, scores, everyone, at_most).sum()) == int(200 * at_most)


def test_a_promise_for_everybody_costs_every_alarm_where_all_scores_are_alike():
    same = torch.full((10,), 0.7)
    assert not alarms(same, same, torch.ones(10, dtype=torch.bool), 0.5).any()


def test_forbidden_validation_requests_do_not_move_the_threshold():
    seen, allowed = torch.tensor([0.1, 0.2, 0.9, 0.95]), torch.tensor([True, True, False, False])
    assert alarms(torch.tensor([0.5]), seen, allowed, 0.0).tolist() == [True]


def test_an_area_is_that_under_its_curve():
    generator = torch.Generator().manual_seed(1)
    bad, good = (torch.rand(60, generator=generator) + 0.3).round(decimals=1), torch.rand(80, generator=generator)
    false, true = curve(bad, good)
    assert area(bad, good) == pytest.approx(float(torch.trapezoid(true, false)))
    assert area(bad, bad) == pytest.approx(0.5) and (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
