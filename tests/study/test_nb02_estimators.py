"""The variance of a draw is arithmetic once the mean loss and its square are known at every size."""

import math

import pytest
import torch

from dlmlab.objective import noise
from dlmlab.study import nb02_estimators as estimators


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def every_loss(n, seed):
    """A random loss for each of the 2^n - 1 masks, with the masks, (2^n - 1, n)."""
    masked, _ = noise.every_mask(torch.ones(n, dtype=torch.bool))
    price = torch.rand(n, generator=generator(seed), dtype=torch.float64) * 3
    return masked, (masked * price).sum(1) ** 1.5 * torch.rand(len(masked), generator=generator(seed + 1)).double()


@pytest.mark.parametrize("n, seed", [(1, 0), (4, 1), (7, 2)])
def test_both_variances_are_those_of_the_estimators(n, seed):
    masked, loss = every_loss(n, seed)
    size = masked.sum(1)
    levels = [loss[size == k] for k in range(1, n + 1)]
    by_time, by_count = estimators.variances([float(v.mean()) for v in levels], [float((v**2).mean()) for v in levels])

    value = n / size.double() * loss  # by count: a mask of l tokens has the chance 1 / (n C(n, l))
    chance = torch.tensor([1 / (n * math.comb(n, int(k))) for k in size], dtype=torch.float64)
    assert by_count == pytest.approx(float((chance * value**2).sum() - (chance * value).sum() ** 2), abs=1e-9)

    # By time, mask by mask on a fine grid: sampled, even 400,000 draws miss it by a tenth, so heavy is its tail.
    t = torch.logspace(math.log10(noise.EPS), 0, 20_001, dtype=torch.float64)[:, None]
    at_t = t**size * (1 - t) ** (n - size) / (1 - noise.EPS)  # (times, masks)
    first, second = (torch.trapezoid((at_t * (loss / t) ** k).sum(1), t[:, 0]) for k in (1, 2))
    assert by_time == pytest.approx(float(second - first**2), rel=1e-4)
    assert by_count <= by_time


def test_a_count_saves_everything_when_all_tokens_cost_the_same():
    by_time, by_count = estimators.variances([2.0 * k for k in range(1, 9)], [4.0 * k**2 for k in range(1, 9)])
    assert by_count == pytest.approx(0, abs=1e-9) and by_time > 10


def test_a_mask_is_looked_up_by_its_binary_digits():
    masked, loss = every_loss(5, 3)
    assert torch.equal(estimators.look_up(masked, loss), loss)
    assert estimators.look_up(torch.zeros(2, 5, dtype=torch.bool), loss).tolist() == [0, 0]


@pytest.mark.parametrize(
    "name", ["by time, independent", "by count, independent", "by time, even grid", "by count, even grid"]
)
def test_every_estimator_closes_in_on_the_bound_and_the_control_does_not(name):
    masked, loss = every_loss(4, 5)
    loss = loss * masked.sum(1)  # masks of many tokens cost more a token: what the control gets wrong
    bound = float((noise.every_mask(torch.ones(4, dtype=torch.bool))[1] * loss).sum())
    kwargs = {"count_masks": noise.count_masks, "seed": 0, "runs": 400}
    runs = estimators.estimates(name, 64, loss, **kwargs)
    assert runs.shape == (400,) and float(runs.mean()) == pytest.approx(bound, abs=5 * float(runs.std()) / 20)
    assert len(set(runs.tolist())) > 1
    control = estimators.estimates(estimators.CONTROL, 64, loss, **kwargs)
    assert abs(float(control.mean()) - bound) > 5 * float(control.std()) / 20


def test_the_masks_by_count_are_the_function_that_is_given():
    loss, asked = every_loss(3, 0)[1], []

    def mine(maskable, *, draws, generator):
        asked.append((tuple(maskable.shape), draws))
        return noise.count_masks(maskable, draws=draws, generator=generator)

    for name in ("by count, independent", "by count, even grid", "by time, even grid"):
        estimators.estimates(name, 8, loss, count_masks=mine, seed=0, runs=2)
    assert asked == [((16, 3), 1), ((2, 3), 8)]


def test_sets_of_a_size_are_uniform_and_stay_among_the_maskable():
    maskable = torch.tensor([False, True, True, False, True, True, True])
    masked = torch.stack([estimators.masks_by_size(maskable, generator(i)) for i in range(400)])  # (400, draws, 7)
    assert not bool(masked[..., ~maskable].any())
    size = masked[0].sum(1)
    assert (masked.sum(-1) == size).all() and size.tolist() == sorted(size.tolist())
    counts = [int((size == k).sum()) for k in range(1, 6)]
    assert counts[0] == 5 and all(c >= estimators.LEAST for c in counts)
    assert torch.equal(masked[0][:5][:, maskable], torch.eye(5, dtype=torch.bool))
    for k in (2, 3, 4):
        share = masked[:, size == k][..., maskable].double().mean((0, 1))
        assert (share - k / 5).abs().max() < 0.05


def test_the_saving_is_a_difference_over_problems_and_seeds():
    rows = [
        {"part": p, "seed": s, "saved": [v, v + 0.2]} for s in (0, 1) for p, v in (("question", 0.5), ("answer", 0.1))
    ]
    found = estimators.headlines(rows)
    assert found["question"] == pytest.approx(0.6) and found["answer"] == pytest.approx(0.2)
    assert found["question against answer"] == pytest.approx(0.4)
    assert found["question against answer, word"] == "higher"
