"""The short loop writes what the packaged sampler writes, and ends."""

import pytest
import torch

from dlmlab.decode import loop, sampling
from dlmlab.decode.commit import Fixed, Threshold, num_transfer_tokens, order_of, threshold_commit
from tests.mocks import OracleDenoiser, RandomDenoiser

MASK, V = 10, 11


def by_schedule(due):
    """Make a rule that takes the best of a row, as many as are due at this forward."""
    due = iter(due)

    def commit(score, eligible):
        return (order_of(score, eligible)[1] < next(due)) & eligible

    return commit


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tau", [0.2, 0.5, 1.5])
def test_it_writes_what_the_sampler_writes_by_threshold(seed, tau):
    denoise = RandomDenoiser(V, seed=seed)
    prompt = torch.randint(0, MASK, (5, 3), generator=torch.Generator().manual_seed(seed))
    sampler = sampling.Sampler(commit=Threshold(tau))
    out = sampling.sample(denoise, prompt, gen_length=9, sampler=sampler, mask_id=MASK)
    x = torch.cat([prompt, torch.full((5, 9), MASK)], 1)
    ids, forwards = loop.reverse_loop(denoise, x, lambda s, e: threshold_commit(s, e, tau), MASK)
    assert torch.equal(ids, out.ids)
    assert forwards.tolist() == list(out.trace.nfe)


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_it_writes_what_the_sampler_writes_by_schedule(steps):
    denoise = RandomDenoiser(V, seed=7)
    out = sampling.sample(denoise, [[3, 1]], gen_length=9, sampler=sampling.Sampler(commit=Fixed(steps)), mask_id=MASK)
    x = torch.tensor([[3, 1] + [MASK] * 9])
    ids, forwards = loop.reverse_loop(denoise, x, by_schedule(num_transfer_tokens(9, steps)), MASK)
    assert torch.equal(ids, out.ids) and forwards.tolist() == [steps]


def test_masks_between_given_tokens_are_filled():
    text = torch.tensor([1, 2, 3, 4, 5])
    x = torch.tensor([[1, MASK, 3, MASK, 5], [1, 2, 3, 4, 5]])
    ids, forwards = loop.reverse_loop(OracleDenoiser(text, V, MASK), x, by_schedule([1, 1]), MASK)
    assert ids.tolist() == [[1, 2, 3, 4, 5]] * 2 and forwards.tolist() == [2, 0]


def test_a_rule_that_commits_nothing_is_an_error():
    with pytest.raises(ValueError, match="2 masks are left"):
        loop.reverse_loop(RandomDenoiser(V), torch.tensor([[0, MASK, MASK]]), lambda s, e: torch.zeros_like(e), MASK)


def test_the_mask_is_never_proposed_and_noise_makes_nothing_sure():
    logits = torch.randn(2, 400, V, generator=torch.Generator().manual_seed(0))
    logits[..., MASK] = 9.0
    tokens, confidence = loop.propose(logits, 2.0, torch.Generator().manual_seed(1), MASK)
    assert not (tokens == MASK).any()
    clean = logits[..., :MASK].softmax(-1).gather(-1, tokens[..., None])[..., 0]
    assert torch.allclose(confidence, clean, atol=1e-6)
    assert float(logits.amax()) == 9.0
