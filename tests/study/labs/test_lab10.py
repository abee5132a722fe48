"""The table of lab 10: one of K texts, estimated without bias, and every proposal beside its control."""

import itertools

import pytest

from dlmlab.study.labs import lab10_proposals as lab

ROW = {"right": {"0": "100", "1": "110", "2": "000", "3": "100"}}


@pytest.mark.parametrize("K", [1, 2, 3, 4])
def test_one_of_k_texts_is_the_mean_over_all_choices_of_k(K):
    choices = list(itertools.combinations(ROW["right"].values(), K))
    mean = [sum("1" in (texts[i] for texts in chosen) for chosen in choices) / len(choices) for i in range(3)]
    assert lab.covered(ROW, K) == pytest.approx(mean)


def test_texts_of_greedy_are_all_the_same_one():
    assert lab.covered({"right": {"0": "101"}}, 8) == [1, 0, 1]


def test_every_way_of_decoding_has_its_control():
    assert all("softmax" in names for names in lab.ASKED.values())
    assert set(lab.MATCHED.values()) <= set(lab.PROPOSALS)


def test_a_proposal_gains_what_its_rival_lacks():
    rows = lab.TABLE.rows()
    there, back = lab.gains(rows, 2)["softmax, T = 0.5"], lab.gains(rows, 2, rival="softmax, T = 0.5")["softmax"]
    assert there.mean == pytest.approx(-back.mean) and there.mean != 0
