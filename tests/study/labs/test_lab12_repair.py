"""Planted errors of the equations, and who repairs them."""

import pytest
import torch

from dlmlab.objective.priors import mixed_prior
from dlmlab.study.labs import lab12_repair as repair
from dlmlab.study.labs import lab12_toy as toy
from dlmlab.study.nb02_student import BLANK, equations, holds


def test_planted_texts_are_false_and_one_number_off():
    wrong, right, weight = repair.planted()
    assert not any(map(holds, wrong.tolist())) and all(map(holds, right.tolist()))
    assert bool(((wrong != right).sum(1) == 1).all()) and float(weight.sum()) == pytest.approx(1)


def test_hiding_each_place_gives_what_an_exact_mask_denoiser_knows():
    perfect, (texts, _) = toy.exact(0.0), equations()
    alpha = torch.full((len(texts),), 0.8)
    torch.testing.assert_close(repair.one_place_masked(toy.of(perfect))(texts, alpha), perfect(texts, alpha=alpha))


def test_belief_of_a_mask_model_never_edits():
    found = repair.repaired(toy.of(toy.network("mask", 0)), mixed_prior(toy.V, BLANK, 0.0), "belief")
    assert set(found.values()) == {0.0}
