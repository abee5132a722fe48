"""One call for every model: the loop that fits it, with the same tokens and costs as the loop called by name."""

import pytest
import torch

from dlmlab.decode import autoregressive
from dlmlab.decode.cache import BlockCache
from dlmlab.decode.commit import Threshold
from dlmlab.decode.run import decode, sampler_for
from dlmlab.decode.sampling import Sampler, sample
from tests.mocks import ModelOf, RandomDenoiser
from tests.tiny import one_thread as one_thread
from tests.tiny import tiny_model, tiny_moe

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPTS = [[5, 7, 9], [8]]


def generator():
    return torch.Generator().manual_seed(1)


def test_a_diffusion_model_is_decoded_by_the_sampler():
    model, sampler = ModelOf(RandomDenoiser(11), 10, 0), Sampler(commit=Threshold(0.3), temperature=0.7)
    out = decode(model, PROMPTS, sampler=sampler, gen_length=6, generator=generator())
    expected = sample(model, PROMPTS, sampler=sampler, gen_length=6, generator=generator())
    assert torch.equal(out.ids, expected.ids) and out.trace.nfe == expected.trace.nfe


@pytest.mark.parametrize("cache", [True, False])
def test_a_causal_model_is_decoded_left_to_right_at_the_temperature_of_the_sampler(cache):
    model = tiny_model("causal", eos_token_id=0, mask_token_id=3)
    options = dict(gen_length=6, cache=cache)
    out = decode(model, PROMPTS, sampler=Sampler(temperature=0.7), generator=generator(), **options)
    expected = autoregressive.sample(model, PROMPTS, temperature=0.7, generator=generator(), **options)
    assert torch.equal(out.ids, expected.ids) and out.trace.tokens_through == expected.trace.tokens_through
    greedy = decode(model, PROMPTS, **options)
    assert torch.equal(greedy.ids, autoregressive.sample(model, PROMPTS, **options).ids)


def test_a_block_causal_model_is_decoded_in_its_blocks():
    block, full = tiny_model("block:4").config, tiny_model().config
    assert sampler_for(full, commit=Threshold(0.5)) == Sampler(commit=Threshold(0.5))
    assert sampler_for(block) == Sampler(block_length=4, aligned=True, cache=BlockCache())
    assert sampler_for(block, block_length=3) == Sampler(block_length=3)
    assert sampler_for(block, guidance=1.0).cache is None
    model = tiny_moe("block:4", eos_token_id=0)
    out, expected = (
        decode(model, PROMPTS, gen_length=6),
        sample(model, PROMPTS, gen_length=6, sampler=sampler_for(block)),
    )
    assert torch.equal(out.ids, expected.ids) and out.trace.nfe == expected.trace.nfe
    assert not torch.equal(out.ids, sample(model, PROMPTS, gen_length=6).ids)  # the control: all blocks at once
