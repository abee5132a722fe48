"""What the tables of notebook 06 share."""

import pytest

from dlmlab.compress.joint import footprint, winner
from dlmlab.compress.joint.options import Option
from dlmlab.study import finalists, judging
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_dense_model_is_tested_as_elsewhere():
    model = judging.dense()
    found = finalists.tested(model, size=4)
    assert found["nats"] == judging.answer_bound(model, problems=finalists.TESTED, draws=finalists.DRAWS, size=4)
    assert found["correct"] == judging.judge(model, size=4)["correct"]
    assert "nats" not in finalists.tested(model, size=2, nats=False)


def test_a_recipe_rebuilds_what_was_weighed():
    choice = dict.fromkeys(finalists.assembly(0).places[:1], Option(8))
    lines = finalists.recipe(0, choice)
    model = winner.rebuild(lines, finalists.assembly(0))
    assert winner.digest(model) == lines["digest"]
    assert finalists.weighed(0, choice)["shapes"] == [[6, 512]] * 6
    assert finalists.weighed(0, {})["bytes"] == 11_138_304


def test_the_box_begins_with_what_no_option_changes():
    assert footprint.outside(judging.dense()) == finalists.IDEAL[1]
    best = {"correct": "11", "bytes": finalists.IDEAL[1]}
    assert finalists.volume([best]) == 1.0
    assert finalists.volume([best | {"correct": "01"}]) == 0.0
    assert finalists.volume([{"correct": "11", "bytes": 1_256_128}]) == pytest.approx(0.5)


def test_names_are_those_of_options():
    assert list(finalists.chosen(0, finalists.NAMES[:6]).values()) == list(finalists.SEARCHED[:6])
