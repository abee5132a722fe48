"""What the table of lab 17 says of its runs."""

import pytest

from dlmlab.study.labs import lab17_tracked as lab


def test_a_run_says_what_it_measured():
    row = lab.run(**lab.key("parity", "masked", 8, 0, steps=2, layers=1), size=4)
    assert {f"{order} {n}" for order in ("left to right", "confidence") for n in lab.FORWARDS} <= row.keys()
    assert all(len(value) == 4 and set(value) <= {"0", "1"} for value in row.values())


def test_twelve_forwards_are_better_than_one_and_one_is_a_guess():
    rows = lab.TABLE.rows()
    for task in lab.STEPS:
        run = lab.asked(task, "masked", 4096)
        assert lab.less(rows, run, run, "last", "left to right 1").word == "higher"
        assert lab.share(rows, run, "left to right 12").mean == lab.share(rows, run).mean


def test_a_gain_over_chance_is_the_share_less_chance():
    rows = lab.TABLE.rows()
    run = lab.asked("S3", "masked", 4096)
    assert lab.chance(rows, run).mean == pytest.approx(lab.share(rows, run).mean - 1 / 6)


def test_runs_have_a_name_each():
    found = [lab.name(run) for run in lab.runs(lab.TABLE.rows())]
    assert len(set(found)) == len(found) and "S3, masked, 4,096" in found
