"""Proposals as a plug-in: they are drawn from, and decide nothing else."""

import pytest
import torch

from dlmlab.decode import bayes
from dlmlab.decode.commit import Fixed
from dlmlab.decode.proposal import BestOf, Entmax, Proposal, Softmax, Truncated
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.objective.priors import mask_prior
from tests.mocks import RandomDenoiser

V, MASK = 7, 6
EVERY = [Softmax(), Softmax(0.5), Truncated(top_k=2), Truncated(top_p=0.7), Truncated(min_p=0.3), Entmax()]
EVERY += [Entmax(alpha=1.5), BestOf(K=1), BestOf(K=3), BestOf(K=3, anchor=0.2), Truncated(0.7, top_k=3, min_p=0.1)]


def run(sampler, seed=0, rows=1):
    g = torch.Generator().manual_seed(seed)
    return sample(RandomDenoiser(V), [[1, 2]] * rows, gen_length=6, sampler=sampler, generator=g, mask_id=MASK)


@pytest.mark.parametrize("proposal", EVERY, ids=str)
def test_a_proposal_is_a_distribution_and_keeps_ruled_out_tokens_out(proposal):
    logits = torch.randn(3, 4, V, generator=torch.Generator().manual_seed(0))
    logits[..., MASK] = -torch.inf
    q = proposal(logits)
    assert q.dtype == torch.float64 and (q >= 0).all() and (q[..., MASK] == 0).all()
    assert torch.allclose(q.sum(-1), torch.ones(3, 4).double())


@pytest.mark.parametrize("proposal", EVERY, ids=str)
def test_the_loop_draws_from_it_and_commits_no_mask(proposal):
    out = run(Sampler(proposal=proposal, commit=Fixed(3)), rows=8)
    assert not (out.ids == MASK).any()


def test_plain_softmax_is_the_plain_sampler_and_one_draw_is_greedy():
    for T in (0.7, 1.0):
        a = run(Sampler(proposal=Softmax(T)), rows=4).ids
        assert torch.equal(a, run(Sampler(temperature=T), rows=4).ids)
    assert torch.equal(run(Sampler(proposal=BestOf(K=1))).ids, run(Sampler()).ids)


def test_the_place_is_chosen_by_the_clean_probabilities():
    """Sparse proposals would make every place look sure; the order must not see that."""
    seen = []

    class Watch(Fixed):
        def __call__(self, c):
            seen.append(c.p)
            return super().__call__(c)

    for proposal in (Softmax(), Entmax()):
        run(Sampler(proposal=proposal, commit=Watch(1)))
    assert torch.equal(seen[0], seen[1]) and (seen[1][..., :MASK] > 0).all()


def test_what_a_sampler_writes_from_a_proposal_is_enumerated():
    texts = torch.tensor([[0, 0], [0, 1], [1, 1]])
    model = bayes.ExactBayes(texts, mask_prior(3, 2), torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64))
    for proposal in (Truncated(top_k=1), BestOf(K=4)):
        sampler = Sampler("left_to_right", Fixed(2), proposal=proposal)
        out = bayes.output_distribution(model, [2, 2], sampler=sampler, mask_id=2)
        assert abs(sum(out.values()) - 1) < 1e-9
    first = BestOf(K=4)(torch.tensor([0.7, 0.3, 0.0]).log())[1]
    assert abs(out[1, 1] - float(first)) < 1e-6


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match="has its own"):
        Sampler(proposal=Softmax(), temperature=0.5)
    with pytest.raises(ValueError, match="no proposal"):
        Sampler(proposal="softmax")
    with pytest.raises(ValueError, match="temperature"):
        Softmax(0)
    with pytest.raises(ValueError, match="generator"):
        sample(RandomDenoiser(V), [[1]], gen_length=2, sampler=Sampler(proposal=Softmax()), mask_id=MASK)
    with pytest.raises(NotImplementedError):
        Proposal()(torch.zeros(3))
