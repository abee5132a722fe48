"""Dominance, fronts and hypervolumes, against counting by hand and by chance."""

import numpy as np
import pytest

from dlmlab.compress.joint import front

STAIRS = [(1, 3), (2, 2), (3, 1)]


def test_a_staircase_has_the_known_volume():
    assert front.hypervolume(STAIRS, (4, 4)) == 6.0
    assert front.normalized(STAIRS, (4, 4), (0, 0)) == 6 / 16
    assert front.hypervolume([(1, 3)], (4, 4)) == 3.0  # a single point
    assert front.hypervolume([*STAIRS, (2, 2), (3, 3)], (4, 4)) == 6.0  # duplicates, a dominated point
    assert front.hypervolume([(5, 0), (0, 5)], (4, 4)) == 0.0  # not better than the reference in both


def test_the_area_is_the_hypervolume_of_two_objectives():
    rng = np.random.default_rng(3)
    for size in (1, 2, 20):
        points, reference = rng.normal(size=(size, 2)), rng.normal(1, 1, 2)
        assert front.dominated_area(points, reference) == pytest.approx(front.hypervolume(points, reference), rel=1e-12)


@pytest.mark.parametrize("objectives", [2, 3])
def test_the_front_is_what_no_point_dominates(objectives):
    rng = np.random.default_rng(0)
    points = [tuple(p) for p in rng.integers(0, 6, (40, objectives)).tolist()]
    kept = front.front(points)
    assert {points[i] for i in kept} == {p for p in points if not any(front.dominates(q, p) for q in points)}
    assert len({points[i] for i in kept}) == len(kept)  # of equal points the first
    assert kept == sorted(kept) and all(points.index(points[i]) == i for i in kept)


@pytest.mark.parametrize("objectives", [2, 3])
def test_exchanging_two_objectives_changes_no_hypervolume(objectives):
    """Reflection: how the axes are ordered is no property of a front."""
    points = np.random.default_rng(1).random((25, objectives))
    reference, order = np.linspace(1.0, 1.5, objectives), [1, 0, *range(2, objectives)]
    volume = front.hypervolume(points, reference)
    assert volume == pytest.approx(front.hypervolume(points[:, order], reference[order]), rel=1e-12)
    assert front.front(points) == front.front(points[:, order])


def test_the_volume_is_the_share_of_random_points_that_are_dominated():
    rng = np.random.default_rng(2)
    points, darts = rng.random((6, 3)), rng.random((20_000, 3))
    hit = (darts[:, None] >= points[None]).all(-1).any(-1).mean()
    assert front.hypervolume(points, (1, 1, 1)) == pytest.approx(hit, abs=0.015)


def test_a_point_better_than_the_ideal_counts_as_the_ideal():
    assert front.normalized([(-1, -1)], (1, 1), (0, 0)) == 1.0
    with pytest.raises(ValueError, match="below reference"):
        front.normalized(STAIRS, (1, 1), (1, 0))


def test_points_must_be_numbers():
    for wrong in ([], [(1, float("nan"))]):
        with pytest.raises(ValueError, match="finite"):
            front.front(wrong)


def test_a_gap_within_the_range_of_the_seeds_is_noise():
    assert front.thinner_than_noise([0.50, 0.52, 0.51], [0.50, 0.51, 0.50])
    assert not front.thinner_than_noise([0.80, 0.81, 0.80], [0.50, 0.51, 0.50])


def test_two_fronts_are_even_where_it_says_and_change_places_there():
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(200):
        ours, theirs = rng.random((3, 2)).tolist(), rng.random((2, 2)).tolist()
        for t in front.even_references(ours, theirs):
            gaps = [
                front.hypervolume(ours, (s, s)) - front.hypervolume(theirs, (s, s)) for s in (t - 1e-4, t, t + 1e-4)
            ]
            assert abs(gaps[1]) < 1e-9 and gaps[0] * gaps[2] < 0
            found += 1
    assert found > 10


def test_fronts_that_never_change_places_have_no_even_reference():
    for ours, theirs in (([(1, 1)], [(2, 2)]), (STAIRS, STAIRS), (STAIRS, [(1, 3), (3, 1)])):
        assert front.even_references(ours, theirs) == []
