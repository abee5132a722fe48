"""The target of distillation through time, place by place and counted; its divergences; which mean is their optimum."""

import itertools

import pytest
import torch

from dlmlab.objective import distill

M, V = 4, 5  # mask, vocabulary


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Teacher:
    """A teacher that remembers what it was shown, and whose guess depends on all that is visible."""

    def __init__(self, scale=1.0):
        self.seen, self.weight = [], scale * torch.randn(V + 1, 6, V, generator=seeded(9))

    def __call__(self, ids):
        self.seen.append(ids.clone())
        visible = torch.where(ids == M, 0, ids + 1).sum(-1) % (V + 1)  # (B,)
        return self.weight[visible]


X = torch.tensor([[0, M, M, 2, M, M], [M, M, M, M, M, M], [0, 1, 2, 3, 0, 1]])


def test_each_place_has_the_distribution_of_its_own_step():
    teacher = Teacher()
    now = torch.tensor([[False, True, False, False, False, True], [True] + [False] * 5, [False] * 6])
    target = distill.two_step_target(teacher, X, M, first=lambda log_p, masked: now, generator=seeded())
    start, second = teacher.seen
    assert torch.equal(start, X) and torch.equal(second[~now], X[~now]) and bool((second[now] != M).all())
    for b, i in itertools.product(range(3), range(6)):  # by hand: softmax of the four tokens that are left
        logits = teacher((start if now[b, i] else second)[b : b + 1])[0, i]
        p = [float(logits[v].exp() / logits[:M].exp().sum()) for v in range(M)]
        assert target[b, i].exp().tolist() == pytest.approx([*p, 0.0], abs=1e-6)


def test_tokens_of_the_first_step_are_drawn_from_the_first_guess():
    teacher, B = Teacher(), 4000
    distill.two_step_target(teacher, torch.full((B, 6), M), M, first=lambda log_p, masked: masked, generator=seeded())
    p = torch.stack([(teacher.seen[1] == v).float().mean(0) for v in range(V)], -1)  # (6, V)
    logits = teacher.weight[0].clone()
    logits[:, M] = -torch.inf
    assert torch.allclose(p, logits.softmax(-1), atol=0.03)


def test_who_comes_first():
    masked = (X == M)[:2]
    log_p = torch.tensor([0.95, 0.02, 0.02, 0.01, 0]).log().expand(2, 6, V).clone()
    log_p[:, 2] = log_p[:, 4] = torch.tensor([0.4, 0.3, 0.2, 0.1, 0]).log()
    sure = distill.if_sure(0.9)(log_p, masked)
    assert sure.tolist() == [[False, True, False, False, False, True], [True, True, False, True, False, True]]
    low = log_p[:, [2]].expand(2, 6, V).clone()
    low[:, 4, 0] += 0.1
    assert distill.if_sure(0.9)(low, masked).sum(-1).tolist() == [1, 1]  # the surest, always
    many = torch.ones(200, 50, dtype=torch.bool)
    share = distill.by_chance(0.25, seeded())(torch.zeros(200, 50, V), many).float().mean()
    assert share.item() == pytest.approx(0.25, abs=0.02)
    assert not distill.by_chance(1.0, seeded())(torch.zeros(2, 6, V), masked)[~masked].any()


def test_divergences_are_the_worked_ones_and_ignore_what_is_ruled_out():
    s, t = torch.tensor([[0.8, 0.15, 0.05]]).log(), torch.tensor([[0.6, 0.3, 0.1]]).log()
    assert distill.divergence(s, t).item() == pytest.approx(0.091516, abs=1e-6)
    assert distill.divergence(s, t, reverse=False).item() == pytest.approx(0.104650, abs=1e-6)
    wider, ruled = torch.cat([s, torch.tensor([[7.0]])], -1), torch.cat([t, torch.tensor([[-torch.inf]])], -1)
    for reverse in (True, False):
        logits = wider.clone().requires_grad_()
        d = distill.divergence(logits, ruled, reverse=reverse)
        assert d.item() == pytest.approx(distill.divergence(s, t, reverse=reverse).item(), abs=1e-6)
        d.sum().backward()
        assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("reverse", [True, False])
def test_the_pooled_distribution_is_where_gradient_descent_ends(reverse):
    targets = torch.rand(4, 6, generator=seeded(1), dtype=torch.float64).softmax(-1) ** 3
    targets, weight = targets / targets.sum(-1, keepdim=True), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    z = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    for _ in range(1500):
        q = z.softmax(-1)
        kl = [(q * (q / t).log()).sum() if reverse else (t * (t / q).log()).sum() for t in targets]
        loss = sum(w * d for w, d in zip(weight, kl, strict=True))
        (grad,) = torch.autograd.grad(loss, z)
        z = (z - 2 * grad).detach().requires_grad_()
    assert torch.allclose(z.softmax(-1), distill.pooled(targets, weight, reverse=reverse), atol=1e-6)


def test_with_right_draws_the_mean_of_the_targets_is_the_first_guess():
    joint = torch.rand(3, 4, generator=seeded(2), dtype=torch.float64)
    joint = joint / joint.sum()  # p(first token, second token)
    late = joint / joint.sum(1, keepdim=True)  # what is said of the second once the first is drawn
    assert torch.allclose(distill.pooled(late, joint.sum(1), reverse=False), joint.sum(0))
    assert not torch.allclose(distill.pooled(late, joint.sum(1), reverse=True), joint.sum(0), atol=1e-3)


def test_what_a_teacher_costs():
    assert [distill.plain_steps(30, n) for n in (0, 1, 2, 3)] == [30, 40, 50, 60]
    with pytest.raises(ValueError, match="teacher_forwards"):
        distill.plain_steps(30, -1)
