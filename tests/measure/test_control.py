"""A control may not have fewer forwards than what it is the control of."""

import pytest

from dlmlab.measure.control import fair_control

ROWS = [
    {"nfe": nfe, "exact_match": hits, "setting": name}
    for nfe, hits, name in ((2.0, 0.9, "a"), (5.0, 0.5, "b"), (5.0, 0.7, "c"), (5.0, 0.6, "d"), (20.0, 0.95, "e"))
]


@pytest.mark.parametrize(
    "nfe, setting", [(0.0, "a"), (2.0, "a"), (2.001, "c"), (4.9, "c"), (5.0, "c"), (5.1, "e"), (20.0, "e")]
)
def test_the_control_has_as_many_forwards_and_as_few_as_that_allows(nfe, setting):
    assert fair_control(ROWS, nfe)["setting"] == setting
    assert fair_control(ROWS[::-1], nfe)["setting"] == setting


@pytest.mark.parametrize("rows", [[], ROWS])
def test_a_rule_with_more_forwards_than_every_schedule_has_no_control(rows):
    with pytest.raises(ValueError, match="nfe=20.5 is outside 0 to"):
        fair_control(rows, 20.5)
