"""Ancestral sampling with an exact denoiser comes to the truth; an edit changes one place at most."""

import pytest
import torch

from dlmlab.decode.ancestral import ancestral, draw, edit_once
from dlmlab.decode.bayes import ExactBayes
from dlmlab.objective.priors import mixed_prior

TEXTS = torch.tensor([[0, 0, 1], [1, 1, 0], [1, 0, 2]])
CHANCE = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
V, MASK = 4, 3


def denoiser(k):
    bayes = ExactBayes(TEXTS, mixed_prior(V, MASK, k), CHANCE)
    return lambda z, alpha: bayes(z, alpha=alpha)


@pytest.mark.parametrize("k", [0.0, 0.2, 1.0])
def test_many_steps_come_to_the_truth(k):
    x = torch.full((4_000, 3), MASK)
    out = ancestral(
        denoiser(k),
        x,
        torch.ones_like(x, dtype=torch.bool),
        prior=mixed_prior(V, MASK, k),
        T=64,
        generator=torch.Generator().manual_seed(0),
    )
    for ids in out.values():
        share = (ids[:, None] == TEXTS).all(-1).double().mean(0)
        assert float((share - CHANCE).abs().sum()) / 2 + float(1 - share.sum()) / 2 < 0.06


@pytest.mark.parametrize("k", [0.0, 0.5, 1.0])
def test_given_places_stay_and_no_mask_is_left(k):
    x = torch.tensor([[1, MASK, MASK]]).expand(50, 3).clone()
    free = x == MASK
    out = ancestral(
        denoiser(k), x, free, prior=mixed_prior(V, MASK, k), T=3, generator=torch.Generator().manual_seed(0)
    )
    for ids in out.values():
        assert bool((ids[:, 0] == 1).all()) and not bool((ids == MASK).any())


def test_both_ends_are_one_run():
    x = torch.full((40, 3), MASK)
    free = torch.ones_like(x, dtype=torch.bool)
    how = {"prior": mixed_prior(V, MASK, 0.0), "T": 40}
    out = ancestral(denoiser(0.0), x, free, generator=torch.Generator().manual_seed(0), **how)
    assert float((out["draw"] != out["greedy"]).double().mean()) < 0.1


def test_no_step_is_refused():
    x = torch.full((1, 3), MASK)
    with pytest.raises(ValueError, match="T=0"):
        ancestral(denoiser(0.0), x, x == MASK, prior=mixed_prior(V, MASK, 0.0), T=0, generator=torch.Generator())


def test_draws_follow_their_distributions():
    p = torch.tensor([[0.2, 0.8], [1.0, 0.0]]).expand(3_000, 2, 2)
    ids = draw(p, torch.Generator().manual_seed(0))
    assert float(ids[:, 0].double().mean()) == pytest.approx(0.8, abs=0.03) and not bool(ids[:, 1].any())


def test_an_edit_takes_the_surest_place_only():
    logits = torch.tensor([[[0.0, 4.0], [0.0, 9.0], [5.0, 0.0]]])
    z, alpha, prior = torch.zeros(1, 3, dtype=torch.long), torch.tensor([0.8]), torch.tensor([0.5, 0.5])
    every = torch.ones_like(z, dtype=torch.bool)
    how = {"alpha": alpha, "prior": prior, "by": "leave-one-out"}
    assert edit_once(logits, z, every, **how).tolist() == [[0, 1, 0]]
    assert edit_once(logits, z, every & torch.tensor([[True, False, True]]), **how).tolist() == [[1, 0, 0]]


def test_belief_edits_less_than_the_leave_one_out_guess():
    logits = torch.tensor([[[0.0, 1.0]]])  # 27 % against 73 %
    z, alpha, prior = torch.zeros(1, 1, dtype=torch.long), torch.tensor([0.8]), torch.tensor([0.5, 0.5])
    every = torch.ones_like(z, dtype=torch.bool)
    found = [edit_once(logits, z, every, alpha=alpha, prior=prior, by=by).item() for by in ("leave-one-out", "belief")]
    assert found == [1, 0]


def test_an_unknown_detector_is_refused():
    z = torch.zeros(1, 1, dtype=torch.long)
    with pytest.raises(ValueError, match="known"):
        edit_once(torch.zeros(1, 1, 2), z, z == 0, alpha=torch.ones(1), prior=torch.tensor([0.5, 0.5]), by="chance")
