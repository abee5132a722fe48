"""A model at chance has lost everything, whatever its accuracy looks like."""

import pytest

from dlmlab.measure.drops import share_lost


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.5])
def test_from_anywhere_to_chance_is_all_and_to_itself_is_nothing(chance):
    assert share_lost(0.8, chance, chance) == pytest.approx(1)
    assert share_lost(0.8, 0.8, chance) == pytest.approx(0)


def test_the_unit_does_not_matter_and_a_gain_is_negative():
    assert share_lost(80, 60, 50) == pytest.approx(share_lost(0.8, 0.6, 0.5))
    assert share_lost(0.6, 0.7) < 0


def test_where_nothing_is_above_chance_nothing_can_be_lost():
    with pytest.raises(ValueError, match="nothing to lose"):
        share_lost(0.5, 0.4, chance=0.5)
