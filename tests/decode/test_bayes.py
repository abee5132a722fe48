"""The exact-Bayes denoiser closes every bound, and the enumeration of a sampler is what the sampler does.

Numbers in brackets are the invariants of the contract (reference/sampling-methods.md, section 7).
"""

import itertools
import math

import pytest
import torch
from scipy.stats import chisquare

from dlmlab.decode.bayes import ExactBayes, exact_nelbo, output_distribution, total_variation
from dlmlab.decode.cache import DualCache
from dlmlab.decode.commit import EntropyBound, Factor, Fixed, Threshold
from dlmlab.decode.edit import Replace
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.objective.noise import bound_by_enumeration
from dlmlab.objective.priors import mask_prior, mixed_prior, uniform_prior
from tests.mocks import RandomDenoiser

K, L, MASK = 3, 2, 3  # three tokens and the mask
PRIORS = {"mask": mask_prior(4, MASK), "uniform": uniform_prior(3), "mixed": mixed_prior(4, MASK, 0.3)}
# "a + b = c" without its signs, a and b in 0..2: a distribution whose tokens depend on each other
SUMS = torch.tensor([(a, b, a + b) for a in range(3) for b in range(3)])


def random_texts(prior, seed=0):
    """All K^L texts with random probabilities."""
    texts = torch.cartesian_prod(*[torch.arange(K)] * L)
    p = torch.rand(len(texts), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.05
    return ExactBayes(texts, prior, p / p.sum())


def sums():
    return ExactBayes(SUMS, mask_prior(6, 5)), {tuple(x): 1 / 9 for x in SUMS.tolist()}


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_the_bound_of_exact_bayes_is_the_likelihood_of_every_text(prior):  # invariant 14
    bayes = random_texts(prior)
    bound = exact_nelbo(bayes, bayes.texts, prior)
    torch.testing.assert_close(bound, -bayes.probabilities.log(), atol=1e-10, rtol=0)


def test_the_plain_posterior_closes_the_bound_for_masks_only():
    off = {}
    for name, prior in PRIORS.items():
        bayes = random_texts(prior)
        bound = exact_nelbo(bayes.posterior, bayes.texts[:4], prior, nodes=60)
        off[name] = float((bound + bayes.probabilities[:4].log()).abs().max())
    assert off["mask"] < 1e-9 and off["uniform"] > 0.5 and off["mixed"] > 0.1


def test_the_enumerated_estimator_of_llada_is_the_likelihood_too():  # invariants 12 and 14
    bayes = random_texts(PRIORS["mask"])
    x0, everywhere = bayes.texts, torch.ones_like(bayes.texts, dtype=torch.bool)
    bound = bound_by_enumeration(bayes, x0, everywhere, mask_id=MASK)
    torch.testing.assert_close(bound, -bayes.probabilities.log(), atol=1e-10, rtol=0)
    second = bound_by_enumeration(bayes, x0, torch.tensor([[False, True]]).expand_as(x0), mask_id=MASK)
    table = bayes.probabilities.view(K, K)
    conditional = -(table / table.sum(1, keepdim=True)).log().flatten()  # -log p(second | first)
    torch.testing.assert_close(second, conditional, atol=1e-10, rtol=0)


def test_the_prediction_is_bayes_rule_over_the_texts():
    bayes, _ = sums()
    p = bayes(torch.tensor([[5, 2, 5], [1, 5, 3]])).exp()
    assert p[0, 0].tolist() == pytest.approx([1 / 3] * 3 + [0] * 3)  # any a
    assert p[0, 2].tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3, 0])  # a + 2
    assert p[1, 1].tolist() == pytest.approx([0, 0, 1, 0, 0, 0])  # 1 + b = 3


def test_a_context_that_no_text_agrees_with_takes_the_nearest_texts():
    bayes, _ = sums()
    p = bayes(torch.tensor([[0, 5, 4]])).exp()  # 0 + b = 4: wrong in one place, either a or c
    near = [b for a, b, c in SUMS.tolist() if (a == 0) + (c == 4) == 1]
    assert p[0, 1].tolist() == pytest.approx([near.count(v) / len(near) for v in range(6)])


def test_leave_one_out_does_not_look_at_the_token_itself():
    bayes = random_texts(PRIORS["uniform"])
    alpha = torch.full((3,), 0.9, dtype=torch.float64)
    same_rest = torch.tensor([[0, 1], [1, 1], [2, 1]])
    x, own = bayes(same_rest, alpha=alpha), bayes.posterior(same_rest, alpha=alpha)
    torch.testing.assert_close(x[1:, 0], x[:1, 0].expand(2, 3))
    assert [int(i) for i in own[:, 0].argmax(-1)] == [0, 1, 2]


@pytest.mark.parametrize("score", ["random", "left_to_right", "margin", "neg_entropy"])
def test_one_token_a_forward_in_an_order_that_ignores_the_draw_samples_the_truth(score):
    bayes, truth = sums()
    out = output_distribution(bayes, [5, 5, 5], sampler=Sampler(score, temperature=1.0), mask_id=5)
    assert total_variation(out, truth) < 1e-12


def test_a_tail_decides_the_last_step_alone():
    bayes, _ = sums()
    how = Sampler("random", Fixed(2), temperature=1.0)
    drawn, best = (
        output_distribution(bayes, [5, 5, 5], sampler=how, mask_id=5, tail=tail) for tail in (None, Sampler("random"))
    )
    assert sum(best.values()) == pytest.approx(1) and set(best) < set(drawn)
    same = output_distribution(bayes, [5, 5, 5], sampler=how, mask_id=5, tail=how)
    assert total_variation(drawn, same) == 0
    one = output_distribution(
        bayes, [5, 5, 5], sampler=Sampler("random", Fixed(1), temperature=1.0), mask_id=5, tail=Sampler("random")
    )
    assert len(one) == 1  # with one step there is only the tail


def test_choosing_the_place_by_the_drawn_token_is_not_exact_even_one_at_a_time():
    bayes = random_texts(PRIORS["mask"])
    truth = {tuple(x): p for x, p in zip(bayes.texts.tolist(), bayes.probabilities.tolist(), strict=True)}
    exact, biased = (
        output_distribution(bayes, [MASK] * L, sampler=Sampler(score, temperature=1.0), mask_id=MASK)
        for score in ("neg_entropy", "probability")
    )
    assert total_variation(exact, truth) < 1e-12
    assert sum(biased.values()) == pytest.approx(1) and total_variation(biased, truth) > 0.01


def test_all_at_once_is_the_product_of_the_marginals():
    bayes, truth = sums()
    out = output_distribution(bayes, [5, 5, 5], sampler=Sampler("random", Fixed(1), temperature=1.0), mask_id=5)
    c = {0: 1 / 9, 1: 2 / 9, 2: 3 / 9, 3: 2 / 9, 4: 1 / 9}
    expected = {(a, b, s): c[s] / 9 for a, b, s in itertools.product(range(3), range(3), range(5))}
    assert total_variation(out, expected) < 1e-12
    right = sum(p for text, p in out.items() if text in truth)
    assert right == pytest.approx(sum(v * v for v in c.values()))
    assert total_variation(out, truth) == pytest.approx(1 - sum(min(c[a + b] / 9, 1 / 9) for a, b, _ in SUMS.tolist()))


@pytest.mark.parametrize(
    "sampler",
    [
        Sampler("random", Fixed(2), temperature=1.0),
        Sampler("probability", Fixed(3), temperature=1.0),
        Sampler("probability", Fixed(2), temperature=1.0),
        Sampler("margin", Threshold(0.2), temperature=1.0),
        Sampler("probability", Factor(1.5), temperature=1.0),
        Sampler("neg_entropy", EntropyBound(0.8), temperature=1.0),
        Sampler("left_to_right", Fixed(2)),
        Sampler("random", Fixed(2)),
    ],
    ids=str,
)
def test_the_enumeration_is_what_the_sampler_does(sampler):
    denoise, start, runs = RandomDenoiser(4), [2, MASK, MASK, MASK], 4000
    expected = output_distribution(denoise, start, sampler=sampler, mask_id=MASK)
    assert sum(expected.values()) == pytest.approx(1)
    out = sample(
        denoise,
        [start[:1]] * runs,
        gen_length=3,
        sampler=sampler,
        generator=torch.Generator().manual_seed(0),
        mask_id=MASK,
    )
    seen = list(map(tuple, out.ids.tolist()))
    assert set(seen) <= set(expected)
    if len(expected) > 1:
        big = [k for k, p in expected.items() if p * runs >= 5]
        counts, means = [seen.count(k) for k in big], [expected[k] * runs for k in big]
        rest = runs - sum(counts), runs - sum(means)
        if rest[1] > 1:
            counts, means = [*counts, rest[0]], [*means, rest[1]]
        assert chisquare(counts, [m * sum(counts) / sum(means) for m in means]).pvalue > 1e-4


def test_what_is_given_stays_and_nothing_to_fill_is_returned_as_it_is():
    bayes, _ = sums()
    out = output_distribution(bayes, [1, 5, 3], sampler=Sampler(), mask_id=5)
    assert out == {(1, 2, 3): 1.0}
    assert output_distribution(bayes, [1, 2, 3], sampler=Sampler(), mask_id=5) == {(1, 2, 3): 1.0}


def test_total_variation_is_the_largest_difference_of_an_event():
    a, b = {"x": 0.5, "y": 0.3, "z": 0.2}, {"x": 0.1, "y": 0.3, "w": 0.6}
    events = itertools.chain.from_iterable(itertools.combinations("wxyz", n) for n in range(5))
    largest = max(abs(sum(a.get(k, 0) - b.get(k, 0) for k in event)) for event in events)
    assert total_variation(a, b) == pytest.approx(largest)
    assert total_variation(a, a) == 0


def test_wrong_requests_say_what_is_wrong():
    bayes, _ = sums()
    for options in (
        dict(temperature=0.5),
        dict(block_length=2),
        dict(guidance=1.0),
        dict(eos_last=True),
        dict(stop_at_eos=True),
        dict(forbid=(1,)),
        dict(cache=DualCache()),
        dict(edit=Replace(0.9)),
    ):
        sampler = Sampler(**options)
        with pytest.raises(ValueError, match="temperature 0 or 1, one block"):
            output_distribution(bayes, [5, 5, 5], sampler=sampler, mask_id=5)
    with pytest.raises(ValueError, match="planned steps only"):
        output_distribution(bayes, [5, 5, 5], sampler=Sampler("random", Threshold(0.5)), mask_id=5)
    with pytest.raises(ValueError, match="all different"):
        ExactBayes(torch.tensor([[1, 2], [1, 2]]), PRIORS["mask"])
    with pytest.raises(ValueError, match="sum 1"):
        ExactBayes(torch.tensor([[1, 2], [1, 0]]), PRIORS["mask"], torch.tensor([0.5, 0.6]))
    with pytest.raises(ValueError, match="pass alpha"):
        random_texts(PRIORS["uniform"])(torch.tensor([[0, 1]]))
    assert math.isfinite(bayes.probabilities.log().sum())


def test_parallel_greedy_is_sequential_greedy_as_long_as_n_plus_one_doubts_fit_into_one():
    """Theorem 1 of Fast-dLLM (arXiv 2505.22618) for three letters, on random worlds and at its edge."""
    texts, generator = torch.cartesian_prod(*[torch.arange(K)] * 3), torch.Generator().manual_seed(0)
    inside = differ = 0
    for _ in range(60):
        p = (torch.randn(len(texts), generator=generator).double() * 3).softmax(0)
        world = ExactBayes(texts, PRIORS["mask"], p)
        doubt = 1 - float(world(torch.full((1, 3), MASK)).softmax(-1).amax(-1).min())
        once, slowly = (greedy(world, forwards) for forwards in (1, 3))
        if 4 * doubt <= 1:
            inside += 1
            assert once == slowly == tuple(texts[int(p.argmax())].tolist())
        differ += once != slowly
    assert inside > 5 and differ > 5  # both sides of the condition were seen
    edge = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    for mass, same in ((0.26, True), (0.24, False)):
        p = torch.tensor([mass] + [(1 - mass) / 3] * 3, dtype=torch.float64)
        world = ExactBayes(edge, PRIORS["mask"], p)
        assert (greedy(world, 1) == greedy(world, 3)) is same


def greedy(world, forwards):
    (text,) = output_distribution(world, [MASK] * 3, sampler=Sampler("probability", Fixed(forwards)), mask_id=MASK)
    return text
