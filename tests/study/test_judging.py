"""What the tables of notebook 04 share: a live slice sees the same problems under the same masks as the stored row."""

import pytest

from dlmlab.study import judging


@pytest.mark.parametrize("name", ["llada-mini", "llama-mini"])
def test_a_slice_of_the_likelihood_is_the_beginning_of_the_whole(name):
    whole = judging.answer_bound(judging.dense(name), problems=5)
    few = judging.answer_bound(judging.dense(name), problems=5, size=2)
    assert len(whole) == 5 and few == pytest.approx(whole[:2], abs=2e-5)


def test_points_have_the_interval_of_their_problems_and_the_mean_of_their_nats():
    (row,) = judging.points([{"correct": "1101", "nats": [1.0, 3.0], "name": "a"}])
    assert row["exact_match"] == 0.75 and row["low"] < 0.75 < row["high"] and row["bound"] == 2.0
    assert row["name"] == "a"  # nothing is lost


def test_mean_nats_is_over_problems_and_seeds():
    assert judging.mean_nats([{"nats": [1.0, 3.0]}, {"nats": [5.0, 7.0]}]) == 4.0
