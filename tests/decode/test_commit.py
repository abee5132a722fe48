"""Scores rank, commit rules count: every rule against its definition, typed out position by position."""

import math

import pytest
import torch

from dlmlab.decode.commit import (
    SCORES,
    Candidates,
    EntropyBound,
    Factor,
    Fixed,
    Threshold,
    num_transfer_tokens,
    threshold_commit,
)

B, L, V = 3, 7, 5
RULES = [Fixed(), Threshold(0.5), Threshold(0.5, strict=True), Factor(1.0), Factor(3.0), EntropyBound(0.5)]


def candidates(p: torch.Tensor, eligible=None, quota=None) -> Candidates:
    """Make candidates whose score is the probability of the best token, as the sampler does at temperature 0."""
    eligible = torch.ones(p.shape[:2], dtype=torch.bool) if eligible is None else eligible
    confidence = p.max(-1).values
    quota = torch.ones(len(p), dtype=torch.long) if quota is None else torch.as_tensor(quota)
    return Candidates(confidence, eligible, confidence, p, quota)


def with_confidence(*rows: list[float]) -> Candidates:
    """Make candidates from the confidences alone: the proposed token has probability c, one other the rest."""
    confidence = torch.tensor(rows)
    made = candidates(torch.stack([confidence, 1 - confidence], -1))
    made.score = made.confidence = confidence
    return made


def random_candidates(seed: int, quota=None) -> Candidates:
    """Make a batch of rows with 7, about 4, and 0 eligible positions."""
    g = torch.Generator().manual_seed(seed)
    p = (3 * torch.randn(B, L, V, generator=g)).softmax(-1)
    eligible = torch.rand(B, L, generator=g) < torch.tensor([1.0, 0.6, 0.0])[:, None]
    return candidates(p, eligible, quota)


def taken(mask: torch.Tensor) -> list[list[int]]:
    return [row.nonzero()[:, 0].tolist() for row in mask]


# --------------------------------------------------------------------------------------------------------- schedule


@pytest.mark.parametrize("masks, steps, golden", [(10, 4, [3, 3, 2, 2]), (3, 5, [1, 1, 1, 0, 0]), (0, 2, [0, 0])])
def test_the_schedule_of_llada_is_reproduced(masks, steps, golden):
    assert num_transfer_tokens(masks, steps) == golden  # reference/sampling-methods.md, section 1.4


def test_a_schedule_spends_every_mask_evenly_with_the_larger_parts_first():
    for masks in range(0, 20):
        for steps in range(1, 9):
            n = num_transfer_tokens(masks, steps)
            assert len(n) == steps and sum(n) == masks
            assert n == sorted(n, reverse=True) and n[0] - n[-1] <= 1


@pytest.mark.parametrize("masks, steps", [(3, 0), (-1, 2)])
def test_an_impossible_schedule_is_refused_by_value(masks, steps):
    with pytest.raises(ValueError, match=f"steps >= 1 and masks >= 0, got {steps} and {masks}"):
        num_transfer_tokens(masks, steps)


# ----------------------------------------------------------------------------------------------------------- scores


def test_the_scores_rank_positions_by_different_things():
    p = torch.tensor([[[0.5, 0.5, 0.0, 0.0], [0.45, 0.2, 0.2, 0.15], [0.44, 0.1, 0.36, 0.1]]])
    x0 = p.argmax(-1)
    assert SCORES["probability"](p, x0, None).argmax() == 0  # .5, .45, .44
    assert SCORES["margin"](p, x0, None).argmax() == 1  # 0, .25, .08
    assert SCORES["neg_entropy"](p, x0, None).argmax() == 0  # ln 2 nats is the least
    assert SCORES["left_to_right"](p, x0, None).tolist() == [[0, -1, -2]]


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_their_definitions(seed):
    p = random_candidates(seed).p
    x0 = torch.randint(V, (B, L), generator=torch.Generator().manual_seed(seed))  # a sampled token, not the best
    for b in range(B):
        for i in range(L):
            q = sorted(p[b, i].tolist(), reverse=True)
            assert SCORES["probability"](p, x0, None)[b, i] == p[b, i, x0[b, i]]
            assert SCORES["margin"](p, x0, None)[b, i] == pytest.approx(q[0] - q[1], abs=1e-6)
            entropy = -sum(v * math.log(v + 1e-10) for v in q)
            assert SCORES["neg_entropy"](p, x0, None)[b, i] == pytest.approx(-entropy, abs=1e-5)


def test_a_random_score_comes_from_the_given_generator_only():
    p, x0 = torch.ones(2, 3, 4), torch.zeros(2, 3, dtype=torch.long)
    before = torch.get_rng_state()
    first, again, other = (SCORES["random"](p, x0, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_certain_token_has_entropy_zero_not_nan():
    p = torch.tensor([[[1.0, 0.0, 0.0]]])
    assert SCORES["neg_entropy"](p, p.argmax(-1), None).abs().max() < 1e-6


# ------------------------------------------------------------------------------------------- what every rule respects


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_every_row_with_a_candidate_commits_at_least_one_and_only_candidates(rule, seed):
    c = random_candidates(seed)
    take = rule(c)
    assert not (take & ~c.eligible).any()
    assert torch.equal(take.any(1), c.eligible.any(1))


@pytest.mark.parametrize("rule", [Fixed(), Threshold(2.0), Factor(0.0), EntropyBound(0.0)], ids=str)
def test_ties_go_to_the_lowest_eligible_index(rule):
    eligible = torch.tensor([[False, True, True, True], [False, False, True, True]])
    c = candidates(torch.full((2, 4, 3), 1 / 3), eligible)
    assert taken(rule(c)) == [[1], [2]]


@pytest.mark.parametrize("rule", [Fixed(), Threshold(0.9), Factor(0.5)], ids=str)
def test_a_row_in_which_every_score_is_minus_infinity_still_commits_an_eligible_position(rule):
    c = with_confidence([0.5, 0.6, 0.7])
    c.score, c.eligible = torch.full((1, 3), -torch.inf), torch.tensor([[False, True, True]])
    assert taken(rule(c)) == [[1]]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rows_do_not_influence_each_other(rule):
    c = random_candidates(0)
    alone = [rule(Candidates(*(x[b : b + 1] for x in vars(c).values()))) for b in range(B)]
    assert torch.equal(rule(c), torch.cat(alone))


# ------------------------------------------------------------------------------------------------------ rule by rule


def test_fixed_takes_the_quota_of_each_row():
    c = with_confidence([0.6, 0.9, 0.7], [0.9, 0.8, 0.6])
    c.quota = torch.tensor([2, 1])
    assert taken(Fixed()(c)) == [[1, 2], [0]]


@pytest.mark.parametrize("seed", range(3))
def test_a_quota_above_the_number_of_candidates_takes_the_candidates_and_nothing_else(seed):
    c = random_candidates(seed, quota=[L + 3] * B)
    assert torch.equal(Fixed()(c), c.eligible)


def test_a_quota_of_zero_takes_nothing():
    assert not Fixed()(random_candidates(0, quota=[0] * B)).any()


def test_a_threshold_is_reached_by_equality_unless_strict():
    c = with_confidence([0.75, 0.5, 0.875])
    assert taken(Threshold(0.75)(c)) == [[0, 2]]
    assert taken(Threshold(0.75, strict=True)(c)) == [[2]]


@pytest.mark.parametrize("tau, strict", [(0.0, False), (0.4, False), (0.4, True), (0.7, False), (1.1, False)])
def test_threshold_takes_all_that_pass_and_the_best(tau, strict):
    c = random_candidates(3)
    for b, row in enumerate(taken(threshold_commit(c.score, c.eligible, tau, strict=strict))):
        s = {i: c.score[b, i].item() for i in range(L) if c.eligible[b, i]}
        passed = {i for i in s if (s[i] > tau if strict else s[i] >= tau)}
        assert set(row) == (passed | {max(s, key=s.get)} if s else set())


@pytest.mark.parametrize(
    "confidence, f, n",
    [([0.9, 0.8, 0.7], 0.5, 1), ([0.9, 0.8, 0.7], 1, 2), ([0.9, 0.8, 0.7], 2, 3)]
    + [([0.5, 0.4], 1, 1), ([0.5, 0.4], 2, 2), ([0.999] * 5, 1, 5)],
)
def test_factor_takes_the_golden_number(confidence, f, n):
    """reference/sampling-methods.md, section 2.3: worked out by hand from (k + 1)(1 - c_k) < f."""
    assert taken(Factor(f)(with_confidence(confidence))) == [list(range(n))]


def test_a_position_that_fails_the_factor_ends_the_prefix():
    c = with_confidence([0.9, 0.5, 0.99])
    c.score = torch.tensor([[3.0, 2.0, 1.0]])  # ranked by something else: the confident one comes last
    assert taken(Factor(1.0)(c)) == [[0]]


@pytest.mark.parametrize("f", [0.0, 0.5, 1.0, 2.0, 4.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_factor_takes_the_longest_prefix_that_satisfies_the_bound(f, seed):
    c = random_candidates(seed)
    for b, row in enumerate(taken(Factor(f)(c))):
        order = sorted(c.eligible[b].nonzero()[:, 0].tolist(), key=lambda i: (-c.confidence[b, i].item(), i))
        n = min(1, len(order))
        while n and n < len(order) and (n + 2) * (1 - c.confidence[b, order[n]].item()) < f:
            n += 1
        assert row == sorted(order[:n])


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_entropy_bound_takes_positions_until_the_entropy_already_taken_exceeds_gamma(gamma, seed):
    c = random_candidates(seed)
    for b, row in enumerate(taken(EntropyBound(gamma)(c))):
        h = torch.special.entr(c.p[b].double()).sum(-1)
        expected, spent = [], 0.0
        for i in sorted(c.eligible[b].nonzero()[:, 0].tolist(), key=lambda i: (h[i].item(), i)):
            if expected and spent > gamma:
                break
            expected.append(i)
            spent += h[i].item()
        assert row == sorted(expected)


def test_a_looser_bound_takes_a_superset():
    c = random_candidates(1)
    for rules in (
        [Threshold(t) for t in (2, 0.9, 0.6, 0.3, 0)],
        [Factor(f) for f in (0, 1, 2, 4, 9)],
        [EntropyBound(g) for g in (0, 0.5, 1, 2, 9)],
    ):
        takes = [rule(c) for rule in rules]
        assert all(bool((small <= large).all()) for small, large in zip(takes, takes[1:], strict=False))
        assert takes[0].sum() < takes[-1].sum() == c.eligible.sum()
