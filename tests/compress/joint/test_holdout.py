"""Choosing and reporting: the test split is read once, after the choice, and only of what was chosen."""

import pytest

from dlmlab.compress.joint.holdout import choose_once

ROWS = [{"name": "a", "bytes": 9}, {"name": "b", "bytes": 4}, {"name": "c", "bytes": 3}, {"name": "d", "bytes": 2}]
NATS = {"a": (0.1, 0.1), "b": (1.0, 3.0), "c": (1.0, 2.0), "d": (1.5, 0.5)}


def test_the_test_split_is_read_once_after_the_choice_and_only_of_the_chosen_row():
    asked = []

    def measure(row, split):
        asked.append((row["name"], split))
        return NATS[row["name"]][split == "test"]

    best = choose_once(ROWS, measure, 5)
    assert best == {"name": "c", "bytes": 3, "validation": 1.0, "test": 2.0}
    assert asked == [("b", "validation"), ("c", "validation"), ("d", "validation"), ("c", "test")]
    assert "test" not in ROWS[2], "the rows of the caller stay as they are"


def test_a_budget_below_every_candidate_says_what_is_missing():
    with pytest.raises(ValueError, match="the smallest has 1 more"):
        choose_once(ROWS, lambda row, split: 0.0, 1)
