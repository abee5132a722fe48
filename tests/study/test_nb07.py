"""What notebook 07 measures: edit rules against none, on the same problems."""

from dlmlab.study import nb07_edits as study


def test_every_rule_is_compared_with_none_under_its_own_schedule():
    rows = [
        {"commit": commit, "edit": rule, "correct": "1100" if rule == "none" else "1110"}
        for commit in study.COMMITS
        for rule in study.EDITS
    ]
    found = study.gains(rows, "five forwards")
    assert list(found) == [rule for rule in study.EDITS if rule != "none"]
    assert all(gain.mean == 25.0 for gain in found.values())
    assert study.quoted(rows)["threshold 0.9 replace above 0.9"] == 25.0
