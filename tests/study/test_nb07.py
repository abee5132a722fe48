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
    rows += [{"commit": "five forwards", "edit": "mask again below 0.1, 2 more", "correct": "1110"}]
    rows += [{"commit": name, "edit": "none", "correct": "1111"} for name in study.CONTROLS]
    assert study.quoted(rows)["threshold 0.9 replace above 0.9"] == 25.0
    assert study.quoted(rows)["control 2 more for masking again, against 7 plain"] == -25.0


def test_a_control_has_the_forwards_of_what_it_is_compared_with():
    for name, (rule, control) in study.PAIRS.items():
        spent = study.COMMITS["five forwards"].commit.steps + study.RULES[rule].extra
        assert study.CONTROLS[control].commit.steps == spent or "left to right" in name
    assert {(key["commit"], key["edit"]) for key in study.settings()} >= {(c, "none") for c in study.CONTROLS}
