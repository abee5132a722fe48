"""What lab 12 measures on the equations."""

import numpy as np
import pytest

from dlmlab.study.labs import lab12_toy as toy


def test_a_network_that_knows_everything_has_no_gap():
    assert toy.gaps(toy.exact(0.1), 0.1, blocks=1) == [0.0]


def test_an_untrained_network_has_a_large_gap_and_training_lowers_it():
    before = np.mean(toy.gaps(toy.network("hybrid 0.1", 0), 0.1, blocks=2))
    after = np.mean(toy.gaps(toy.trained("hybrid 0.1", 0, stop_after=30), 0.1, blocks=2))
    assert 1 < after < before


@pytest.mark.parametrize("k", [0.0, 0.1, 1.0])
def test_the_parts_of_a_bound_are_all_of_it(k):
    parts = toy.parts_of_bound(k, draws=20)
    assert sum(parts.values()) == pytest.approx(1) and all(share >= -1e-9 for share in parts.values())
    assert (parts["masked"] == pytest.approx(1)) == (k == 0)  # without uniform tokens nothing visible is in doubt


def test_a_wrong_token_costs_more_than_a_mask():
    parts = toy.parts_of_bound(0.1)
    places = 0.1 * 8 / 10 / (1 - 0.1 + 0.1 / 10)  # wrong and visible for one masked, at every time
    assert parts["wrong"] / parts["masked"] > 2 * places


def test_one_look_is_compared_with_masks_whose_places_are_hidden():
    usual = {"model": "trained", "timed": True, "rate": toy.SIZE.rate}
    rows = [
        {"family": name, "seed": seed, "valid by leave-one-out": look, "valid by hiding each": hidden} | usual
        for seed in (0, 1)
        for name, look, hidden in (("mask", 0.1, 0.9), ("uniform", 0.8 + 0.1 * seed, 0.5))
    ]
    assert toy.one_look(rows, "uniform").seeds == pytest.approx((-0.1, 0.0))


def test_duel_is_the_floor_for_the_exact_mask_denoiser_only():
    assert toy.duel_gap(toy.exact(0.0), "surest first") == pytest.approx(0, abs=1e-9)
    assert toy.duel_gap(toy.exact(1.0), "surest first") > 0.1
