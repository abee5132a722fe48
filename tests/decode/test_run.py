"""One call for every model: the loop that fits it, with the same tokens and costs as the loop called by name."""

import pytest
import torch

from dlmlab.decode import autoregressive
from dlmlab.decode.commit import Threshold
from dlmlab.decode.run import decode
from dlmlab.decode.sampling import Sampler, sample
from tests.mocks import ModelOf, RandomDenoiser
from tests.tiny import one_thread as one_thread
from tests.tiny import tiny_model

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
