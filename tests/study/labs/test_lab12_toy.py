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


def test_duel_is_the_floor_for_the_exact_mask_denoiser_only():
    assert toy.duel_gap(toy.exact(0.0), "surest first") == pytest.approx(0, abs=1e-9)
    assert toy.duel_gap(toy.exact(1.0), "surest first") > 0.1
