"""Dominance: what survives does not depend on order, on units, or on how often a point stands there."""

import pytest
import torch

from dlmlab.compress.joint.dominance import undominated


def test_a_staircase_survives_and_what_lies_behind_it_does_not():
    points = torch.tensor([[1.0, 3], [2, 2], [3, 1], [3, 3], [2, 3]])
    assert undominated(points).tolist() == [True, True, True, False, False]


def test_equal_points_all_stay_and_a_single_point_too():
    assert undominated(torch.ones(3, 2)).all() and undominated(torch.rand(1, 4)).all()
    assert undominated(torch.empty(0, 2)).tolist() == []


def test_order_units_and_exchanged_objectives_change_nothing():
    draw = torch.Generator().manual_seed(0)
    points = torch.rand(60, 3, generator=draw)
    kept = undominated(points)
    order = torch.randperm(60, generator=draw)
    assert torch.equal(undominated(points[order]), kept[order])
    assert torch.equal(undominated(points * torch.tensor([2.0**20, 2.0**-20, 4.0])), kept)
    assert torch.equal(undominated(points[:, [2, 0, 1]]), kept)
    assert 0 < int(kept.sum()) < 60


def test_a_missed_budget_is_a_coordinate_and_nan_is_refused():
    assert undominated(torch.tensor([[1.0, torch.inf], [1.0, 2.0]])).tolist() == [False, True]
    with pytest.raises(ValueError, match="nan"):
        undominated(torch.tensor([[1.0, torch.nan]]))
