"""The DUEL score is a likelihood: it sums to 1 over texts for honest rules, and is the truth for an exact denoiser."""

import itertools

import pytest
import torch

from dlmlab.decode.bayes import ExactBayes
from dlmlab.objective.duel import RULES, duel_nats, surest
from dlmlab.objective.priors import mask_prior

V, L, MASK = 4, 3, 3
TEXTS = torch.tensor([*itertools.product(range(3), repeat=L)])
CHANCE = torch.rand(len(TEXTS), generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 3
CHANCE = CHANCE / CHANCE.sum()
EVERY = torch.ones_like(TEXTS, dtype=torch.bool)


def denoiser(sharpness=1.0):
    bayes = ExactBayes(TEXTS, mask_prior(V, MASK), CHANCE)
    return lambda z: sharpness * bayes(z)


@pytest.mark.parametrize("rule", RULES)
def test_an_exact_denoiser_scores_the_truth_under_every_rule(rule):
    nats = duel_nats(denoiser(), TEXTS, EVERY, MASK, rule=RULES[rule])
    torch.testing.assert_close(nats, -CHANCE.log(), atol=1e-8, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_probabilities_of_all_texts_sum_to_one_though_the_guesses_disagree(rule):
    nats = duel_nats(denoiser(0.5), TEXTS, EVERY, MASK, rule=RULES[rule])
    assert float((-nats).exp().sum()) == pytest.approx(1, abs=1e-9)


def test_rules_disagree_where_the_guesses_do():
    found = [duel_nats(denoiser(0.5), TEXTS, EVERY, MASK, rule=rule) for rule in RULES.values()]
    assert float((found[0] - found[1]).abs().max()) > 1e-3


def test_given_tokens_are_not_scored():
    some = EVERY.clone()
    some[:, 0] = False
    nats = duel_nats(denoiser(), TEXTS, some, MASK, rule=surest)
    first = torch.stack([CHANCE[TEXTS[:, 0] == t].sum() for t in range(3)])
    torch.testing.assert_close(nats, -(CHANCE / first[TEXTS[:, 0]]).log(), atol=1e-8, rtol=0)


def test_the_leftmost_of_equal_places_is_next():
    seen = []

    def even(z):
        seen.append(z.clone())
        return torch.zeros(*z.shape, V)

    duel_nats(even, TEXTS[:1], EVERY[:1], MASK, rule=surest)
    assert [int((z == MASK).sum()) for z in seen] == [3, 2, 1] and seen[1][0, 0] != MASK


def test_rows_with_different_counts_are_refused():
    some = EVERY[:2].clone()
    some[0, 0] = False
    with pytest.raises(ValueError, match="equally many"):
        duel_nats(denoiser(), TEXTS[:2], some, MASK, rule=surest)
