"""FOCUS: which masks leave the network half-way, and that nothing is committed of what left."""

import torch

from dlmlab.decode.cache import DualCache
from dlmlab.decode.commit import Threshold
from dlmlab.decode.focus import Focus, candidate_attention, choose
from tests.decode.test_cache import MASK, model, one_thread, run  # noqa: F401 (fixtures)


def test_focus_drops_masks_and_the_dual_cache_none(model):  # noqa: F811
    focus, dual = run(model, Focus(), block_length=None), run(model, DualCache(), block_length=None)
    assert sum(s.evicted for s in dual.trace.steps) == 0 < sum(s.evicted for s in focus.trace.steps)
    assert focus.trace.flops < dual.trace.flops


def test_focus_that_keeps_everything_is_a_dual_cache_with_frozen_tokens(model):  # noqa: F811
    out = run(model, Focus(alpha=99.0), block_length=None)
    assert sum(s.evicted for s in out.trace.steps) == 0
    assert [len(s.tokens) for s in out.trace.steps] == [4] * 8


def test_focus_rounds_what_may_stay_up(model):  # noqa: F811
    """Committed 3 and 4 in two forwards, and nothing yet: 1.5, 2 and 1 a forward, times alpha = 1.5, rounded up."""
    x = torch.full((3, 8), MASK)
    session = Focus(alpha=1.5).begin(model, MASK, x, None)
    x[0, :3], x[1, :4] = 1, 1  # the run fills its ids in place
    session.forwards = torch.tensor([2, 2, 0])
    assert session.target(torch.arange(3)).tolist() == [3, 3, 2]


def test_focus_commits_only_what_stayed(model):  # noqa: F811
    out = run(model, Focus(), Threshold(0.0), block_length=None)
    assert out.trace.nfe == [1] * 4  # the first forward drops nothing
    assert not (out.ids[:, out.prompt_length :] == MASK).any()


def test_the_choice_is_the_steepest_and_their_left_neighbours():
    candidate = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]], dtype=torch.bool)
    rise = torch.tensor([[0.0, 0.1, 0.2, 0.9, 0.3, 9.0], [0.5, 0.5, 0.4, 9.0, 9.0, 9.0]])
    kept = choose(rise, candidate, torch.tensor([2, 1]))
    assert kept.int().tolist() == [[0, 0, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0]]


def test_all_that_rise_by_a_standard_deviation_stay_when_they_are_more_than_the_target():
    candidate = torch.arange(10)[None] < 8
    rise = torch.tensor([[0.0, 0, 0, 1, 0, 0, 1, 0, 9, 9]])  # mean 1/4 and standard deviation 0.43 of the candidates
    kept = choose(rise, candidate, torch.tensor([1]))
    assert kept.int().tolist() == [[0, 0, 1, 1, 0, 1, 1, 0, 0, 0]]


def test_received_attention_counts_candidates_only():
    q, k = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 6, 8)
    candidate = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    total = candidate_attention(q, k, candidate)
    torch.testing.assert_close(total.sum(1), torch.tensor([16.0, 4.0]))  # heads x candidates
    assert (total[~candidate] == 0).all()
    alone = candidate_attention(q[:1, :, :4], k[:1, :, :4], candidate[:1, :4])
    torch.testing.assert_close(total[:1, :4], alone)
