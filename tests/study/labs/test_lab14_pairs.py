"""The calculated ends of training are where training ends, and the enumerated texts are those of the sampler."""

import pytest
import torch

from dlmlab.objective import distill
from dlmlab.objective.confidence import right_entropy
from dlmlab.study.labs import lab14_pairs as pairs


@pytest.mark.parametrize("w", [0.5, 0.6, 0.8, 0.1])
def test_one_forward_of_a_perfect_model_writes_the_product_of_its_guesses(w):
    c = torch.tensor(w, dtype=torch.float64)
    assert torch.allclose(pairs.written(w, 1), pairs.product(c, c))
    assert torch.allclose(pairs.written(w, 2), pairs.truth(w))
    assert float(pairs.distance(pairs.written(w, 1), w)) == pytest.approx(2 * w * (1 - w))


@pytest.mark.parametrize("w", [0.5, 0.6, 0.8, 0.1])
def test_no_product_on_a_grid_is_nearer_than_the_best(w):
    _, every = pairs.all_distances(w, 401)
    assert float(every.min()) == pytest.approx(pairs.best_distance(w), abs=2e-3)
    assert float(every.min()) >= pairs.best_distance(w) - 1e-12


def test_training_follows_the_gradient_of_the_expected_loss():
    w, weight = 0.6, 1.5
    z = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    logits = torch.stack([z, torch.zeros(2, dtype=torch.float64)], -1)  # a 0, a 1
    loss = 0
    for token, share in ((0, w), (1, 1 - w)):
        target = torch.full((2,), token)
        loss = loss + share * (torch.nn.functional.cross_entropy(logits, target, reduction="none"))
        loss = loss + share * weight * right_entropy(logits, target).double()
    loss.sum().backward()
    c, right = z.detach().sigmoid(), torch.tensor([w, 1 - w])
    own = (c - w) - weight * right * z.detach() * c * (1 - c)
    assert z.grad.tolist() == pytest.approx(own.tolist(), abs=1e-5)


def test_plain_training_ends_at_the_shares_and_stays():
    for seed in range(3):
        path = pairs.trained(0.6, torch.zeros(()), steps=400, seed=seed)
        assert path[-1].tolist() == pytest.approx([0.6, 0.6]) and path[200].tolist() == pytest.approx([0.6, 0.6])


def test_one_step_of_training_is_one_step_of_the_gradient():
    path = pairs.trained(0.6, torch.tensor([0.0, 1.5]), steps=1, seed=3, rate=0.5)  # (2, 2, 2)
    z, c = torch.logit(path[0, 1]), path[0, 1]
    slope = (c - 0.6) - 1.5 * torch.where(c > 0.5, 0.6, 0.4) * z * c * (1 - c)
    assert torch.allclose(torch.logit(path[1, 1]), z - 0.5 * slope)
    assert torch.allclose(torch.logit(path[1, 0]), z - 0.5 * (c - 0.6))


def test_above_a_weight_of_two_a_fair_pair_takes_sides():
    weight = torch.tensor([0.0, 1.9, 2.2, 4.0])
    ends = torch.stack([pairs.trained(0.5, weight, steps=3000, seed=seed)[-1] for seed in range(4)])  # (4, weights, 2)
    assert ((ends - 0.5).abs() > 0.1).all(-1).tolist() == [[False, False, True, True]] * 4
    assert bool((((ends - 0.5).abs() < 1e-3)[:, :2]).all())


def test_distillation_ends_where_the_sum_over_its_cases_says():
    w, slip = 0.7, 0.05
    p = pairs.distilled(w, slip=slip, reverse=True)
    logit = torch.logit(torch.tensor([w, 1 - slip], dtype=torch.float64))
    assert float(torch.logit(p[0])) == pytest.approx(float(0.5 * logit[0] + 0.5 * (2 * w - 1) * logit[1]))
    plain = pairs.distilled(w, slip=slip, reverse=False)[0]
    assert float(plain) == pytest.approx(0.5 * w + 0.5 * (w * (1 - slip) + (1 - w) * slip))
    assert float(pairs.distilled(w, slip=0.0, reverse=False)[0]) == pytest.approx(w)


def test_the_distribution_of_the_targets_is_the_one_that_distilling_draws():
    w, B = 0.8, 6000
    model = pairs.pair(w)
    target = distill.two_step_target(
        lambda ids: model(ids).clamp(min=-30.0),
        torch.full((B, 2), pairs.BLANK),
        pairs.BLANK,
        first=lambda log_p, masked: torch.nn.functional.one_hot(torch.arange(B) % 2, 2).bool(),
        generator=torch.Generator().manual_seed(0),
    ).exp()
    seen, share = torch.unique((target[..., 0] * 100).round().flatten(), return_counts=True)
    assert seen.tolist() == [0, 80, 100]
    assert (share / share.sum()).tolist() == pytest.approx([0.5 * (1 - w), 0.5, 0.5 * w], abs=0.02)
