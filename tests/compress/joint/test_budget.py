"""A contradictory budget says which constraint is impossible and by how much."""

import pytest

from dlmlab.compress.joint.budget import Budget

SMALL = {"bytes": 1000, "ms": 9.0, "energy": 50.0, "forwards": 3.0}
FAST = {"bytes": 5000, "ms": 1.0, "energy": 90.0, "forwards": 3.0}


def test_what_can_be_met_passes():
    Budget().check([SMALL])
    Budget(bytes=1000, forwards=3).check([SMALL, FAST])
    assert Budget(bytes=999).excess(SMALL) == {"bytes": 1}
    assert Budget(ms=2).allows(FAST) and not Budget(ms=2).allows(SMALL)


def test_an_impossible_constraint_is_named_with_the_amount():
    with pytest.raises(ValueError, match=r"at most 400 bytes is impossible: .* takes is 1,000 bytes, 600 bytes more"):
        Budget(bytes=400).check([SMALL, FAST])
    with pytest.raises(ValueError, match=r"0.5 ms a problem is impossible.* 1 ms a problem, 0.5 ms a problem more"):
        Budget(bytes=400_000, ms=0.5).check([SMALL, FAST])


def test_constraints_that_are_possible_only_apart_are_told_with_the_nearest():
    with pytest.raises(ValueError, match="each is possible alone, together they are not among 2.*4,000 bytes too many"):
        Budget(bytes=1000, ms=1).check([SMALL, FAST])


def test_limits_are_positive_numbers():
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="bytes="):
            Budget(bytes=wrong)
    with pytest.raises(ValueError, match="nothing to choose"):
        Budget().check([])
