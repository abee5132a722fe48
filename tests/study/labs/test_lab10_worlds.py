"""The enumerated texts of lab 10 are those that the sampler writes."""

import itertools

import torch

from dlmlab.decode import coverage
from dlmlab.decode.proposal import BestOf, Softmax
from dlmlab.study.labs import lab10_worlds as worlds

WORLD = worlds.world()


def fill(p):
    return coverage.water_filling(p, 4)


def test_a_perfect_model_drawn_from_as_it_is_writes_the_truth():
    for order in (range(5), (4, 2, 0, 1, 3)):
        p = worlds.conditionals(WORLD, order)
        assert torch.allclose(worlds.written(p, WORLD.texts, lambda q: q, order), WORLD.probabilities)
    assert torch.allclose(worlds.any_order(WORLD, lambda q: q), WORLD.probabilities)


def test_the_short_cut_agrees_with_the_sampler():
    short = worlds.written(worlds.conditionals(WORLD), WORLD.texts, fill)
    assert torch.allclose(short, worlds.enumerated(WORLD, BestOf(K=4), score="left_to_right", forwards=5), atol=1e-9)


def test_all_orders_are_the_mean_of_all_orders():
    orders = list(itertools.permutations(range(5)))
    each = [worlds.written(worlds.conditionals(WORLD, order), WORLD.texts, fill, order) for order in orders]
    assert torch.allclose(worlds.any_order(WORLD, fill), torch.stack(each).mean(0), atol=1e-9)


def test_several_tokens_a_forward_lose_right_texts():
    assert float(worlds.enumerated(WORLD, Softmax(), score="left_to_right", forwards=2).sum()) < 0.9


def test_nothing_covers_more_than_the_best_over_texts():
    p = worlds.conditionals(WORLD)
    for K in (1, 2, 8, 64):
        best = worlds.best_possible(WORLD, K)
        for rule in (lambda q: q, fill, lambda q: (2 * q.log()).softmax(-1)):
            Q = worlds.written(p, WORLD.texts, rule)
            assert float(coverage.coverage(Q, WORLD.probabilities, K)) <= best + 1e-9


def test_worlds_are_drawn_from_their_seed():
    a, b, c = (worlds.drawn_worlds(2, 1.0, seed)[1].probabilities for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c) and len(a) == 42
    flat = worlds.drawn_worlds(1, 0.0, 0)[0].probabilities
    assert torch.allclose(flat, torch.full_like(flat, 1 / 42))
