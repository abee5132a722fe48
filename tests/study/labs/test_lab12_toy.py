"""What lab 12 trains on the 42 equations, and how it measures there."""

import numpy as np
import pytest
import torch

from dlmlab.network.model import count_parameters
from dlmlab.objective.priors import mixed_prior
from dlmlab.study.labs import lab12_repair as repair
from dlmlab.study.labs import lab12_scaling as scaling
from dlmlab.study.labs import lab12_toy as toy
from dlmlab.study.labs.lab12_families import DIFFUSION, FAMILIES, bound, by_masks
from dlmlab.study.nb02_student import BLANK, equations, holds


def test_all_families_have_one_size():
    assert len({count_parameters(toy.network(name, 0).model) for name in FAMILIES}) == 1


def test_the_twin_reads_from_the_left_only():
    twin, (texts, _) = toy.network("AR", 0), equations()
    with torch.no_grad():
        a, b = twin.logits(texts[:1]), twin.logits(torch.cat([texts[:1, :3], texts[5:6, 3:]], 1))
    assert torch.equal(a[:, :4], b[:, :4]) and a.shape == (1, 5, toy.V)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_mask_is_never_written(name):
    texts, _ = equations()
    with torch.no_grad():
        logits = toy.network(name, 0).logits(texts, torch.full((len(texts),), 0.5))
    assert bool((logits[..., BLANK] == -torch.inf).all()) and logits.shape[-1] == toy.V


def test_time_is_told_to_diffusion_and_only_if_wished():
    texts, _ = equations()
    alphas = [torch.full((len(texts),), a) for a in (0.9, 0.1)]
    size = toy.replace(toy.SIZE, timed=False)
    for family, differ in ((toy.network("mask", 0), True), (toy.network("mask", 0, size), False)):
        with torch.no_grad():
            one, other = (family.logits(texts, alpha)[..., :BLANK] for alpha in alphas)
        assert torch.allclose(one, other) != differ


@pytest.mark.parametrize("name", DIFFUSION)
def test_the_bound_of_the_exact_denoiser_is_the_entropy(name):
    perfect, (texts, chance) = toy.exact(FAMILIES[name]), equations()
    values = bound(toy.of(perfect), texts, prior=perfect.prior, draws=200, generator=torch.Generator().manual_seed(0))
    found = float((chance * values.mean(1)).sum())
    error = float((chance**2 * values.var(1) / 200).sum() ** 0.5)
    assert found == pytest.approx(toy.entropy(), abs=4 * error + 1e-9) and error < 0.1


def test_a_network_that_knows_everything_has_no_gap():
    assert toy.gaps(toy.exact(0.1), 0.1, blocks=1) == [0.0]


def test_an_untrained_network_has_a_large_gap_and_training_lowers_it():
    before = np.mean(toy.gaps(toy.network("hybrid 0.1", 0), 0.1, blocks=2))
    after = np.mean(toy.gaps(toy.trained("hybrid 0.1", 0, stop_after=30), 0.1, blocks=2))
    assert 1 < after < before


def test_every_gradient_is_finite():
    for name in FAMILIES:
        family = toy.network(name, 0)
        family.loss(*toy.batches(0, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(0)).backward()
        assert all(bool(p.grad.isfinite().all()) for p in family.model.parameters() if p.grad is not None)


def test_duel_is_the_floor_for_the_exact_mask_denoiser_only():
    assert toy.duel_gap(toy.exact(0.0), "surest first") == pytest.approx(0, abs=1e-9)
    assert toy.duel_gap(toy.exact(1.0), "surest first") > 0.1


def test_the_time_is_told_by_the_share_of_masks():
    seen = []
    told = by_masks(lambda z, alpha: seen.append(alpha) or z, mask_id=9)
    told(torch.tensor([[9, 9, 1, 2], [0, 1, 2, 3]]))
    assert seen[0].tolist() == pytest.approx([0.5, 1 - 1e-6])


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


@pytest.mark.parametrize("floor", ["known", "fitted"])
def test_a_fit_finds_the_exponent_of_a_law(floor):
    x = np.array([1e3, 4e3, 2e4, 8e4])
    b, E, left = scaling.exponent(x, toy.entropy() + 5 * x**-0.4, floor)
    assert b == pytest.approx(0.4, abs=0.03) and E == pytest.approx(toy.entropy(), abs=0.02) and left < 0.05


def test_a_fit_without_a_floor_finds_another_one():
    x = np.array([1e3, 4e3, 2e4, 8e4])
    assert scaling.exponent(x, toy.entropy() + 5 * x**-0.4, "none")[0] < 0.1
