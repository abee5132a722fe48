"""What the table of lab 17 says of its runs."""

import pytest
import torch

from dlmlab.study.labs import lab17_groups as groups
from dlmlab.study.labs import lab17_machines as machines
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


def test_signs_add_up_like_parity():
    sign, table = groups.signs(torch.arange(6)), groups.products("S3")
    assert torch.equal(groups.signs(table), (sign[:, None] + sign) % 2)
    x, y = groups.draw("S3", 8, 5, 0)
    assert torch.equal(groups.signs(y), groups.states("parity", groups.signs(x)))


@pytest.mark.parametrize("model", machines.WRITERS)
def test_a_writer_reads_states_that_are_before_and_none_that_come_later(model):
    net = machines.make(model, seed=1).eval()
    x, y = groups.draw("S3", 4, 5, 0)
    with torch.inference_mode():
        told = machines.scores(net, groups.woven(x, y))[:, ::2]
        other = y.clone()
        other[:, 2] = (y[:, 2] + 1) % 6
        again = machines.scores(net, groups.woven(x, other))[:, ::2]
    assert torch.allclose(told[:, :3], again[:, :3]) and not torch.allclose(told[:, 3], again[:, 3])


def test_the_net_without_memory_sees_one_state_and_one_operation():
    net = machines.make("MLP writer").eval()
    x, y = groups.draw("S3", 4, 5, 0)
    changed = x.clone()
    changed[:, 0] = (x[:, 0] + 1) % 6
    a, b = (machines.scores(net, groups.woven(ops, y))[:, ::2] for ops in (x, changed))
    assert torch.equal(a[:, 1:], b[:, 1:]) and not torch.equal(a[:, 0], b[:, 0])


def test_held_out_rows_hold_no_test_row():
    x, y = lab.unseen("parity", 4096, 0)
    test, _ = groups.draw("parity", lab.TEST, lab.LENGTH, lab.TEST_SEED + lab.LENGTH)
    assert x.shape == y.shape == (4096, lab.LENGTH) and torch.equal(y, groups.states("parity", x))
    assert not set(map(tuple, x.tolist())) & set(map(tuple, test.tolist()))


def test_a_right_state_has_a_right_sign():
    for row in lab.TABLE.rows():
        for state, sign in (("last", "sign"), ("twice", "twice sign")):
            if sign in row:
                assert all(a <= b for a, b in zip(row[state], row[sign], strict=True))
