"""Three outcomes, of which nonsense is one."""

import pytest
import torch

from dlmlab.measure.outcome import OUTCOMES, outcome


@pytest.mark.parametrize(
    ("wrote", "correct", "found"),
    [([0, 0], False, "refused"), ([0, 3], True, "answered"), ([3, 0], False, "other"), ([0, 0], True, "refused")],
)
def test_an_outcome_is_said_of_all_that_the_model_wrote(wrote, correct, found):
    assert outcome(torch.tensor(wrote), 0, correct) == found and found in OUTCOMES
