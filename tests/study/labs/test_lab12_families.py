"""One network for every noise: sizes, what it reads, what it is told, what it learns from."""

import pytest
import torch

from dlmlab.network.model import count_parameters
from dlmlab.study.labs import lab12_toy as toy
from dlmlab.study.labs.lab12_families import DIFFUSION, FAMILIES, bound, by_masks
from dlmlab.study.nb02_student import BLANK, equations


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


def test_every_gradient_is_finite():
    for name in FAMILIES:
        family = toy.network(name, 0)
        family.loss(*toy.batches(0, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(0)).backward()
        assert all(bool(p.grad.isfinite().all()) for p in family.model.parameters() if p.grad is not None)


def test_the_time_is_told_by_the_share_of_masks():
    seen = []
    told = by_masks(lambda z, alpha: seen.append(alpha) or z, mask_id=9)
    told(torch.tensor([[9, 9, 1, 2], [0, 1, 2, 3]]))
    assert seen[0].tolist() == pytest.approx([0.5, 1 - 1e-6])
