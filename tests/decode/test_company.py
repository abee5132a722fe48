"""Alone and in any company, the same tokens: rows of a batch do not influence each other, whatever the decoder.

Random models in float64, so that the rounding of padded and unpadded products does not decide between near-ties.
"""

import random

import pytest
import torch

from dlmlab.decode import autoregressive
from dlmlab.decode.cache import BlockCache, DelayedCache, DualCache, PrefixCache
from dlmlab.decode.commit import EntropyBound, Factor, Fixed, Threshold
from dlmlab.decode.focus import Focus
from dlmlab.decode.sampling import Sampler, sample
from tests.tiny import one_thread as one_thread
from tests.tiny import tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

MASK, EOS, V, G = 3, 0, 24, 4
SHAPE = {"mask_token_id": MASK, "eos_token_id": EOS, "vocab_size": V, "n_layers": 3, "d_model": 16, "n_kv_heads": 4}
CACHES = [None, PrefixCache(), DualCache(), DualCache(refresh=2), DelayedCache(), DelayedCache(refresh=3), Focus()]
BLOCK_CACHES = [None, PrefixCache(), DualCache(), DelayedCache(), BlockCache()]
KINDS = [("full", cache) for cache in CACHES] + [("block:3", cache) for cache in BLOCK_CACHES]
RULES = [Fixed(), Fixed(4), Threshold(0.1, strict=True), Factor(1.2), EntropyBound(3.0)]


def model_of(attention: str, seed: int):
    """Make a random model that ends some of its texts."""
    model = tiny_model(attention, seed=seed, **SHAPE).double()
    with torch.no_grad():
        model.get_output_embeddings().weight[EOS] *= 1.5
    return model


def draw_prompts(rng: random.Random, n: int, infill: bool) -> list[list[int]]:
    """Draw prompts of 1 to 9 ids; with `infill` about a third of the ids of every second one are masks."""
    rows = [[rng.choice([1, 2, *range(4, V)]) for _ in range(rng.randint(1, 9))] for _ in range(n)]
    for row in rows[::2] if infill else []:
        row[:] = [MASK if rng.random() < 0.35 else id for id in row]
    return rows


def assert_rows_are_alone(decode, prompts):
    """Compare every row of a batch with a batch of this row only: tokens, order of commits, forwards."""
    together = decode(prompts)
    for i, prompt in enumerate(prompts):
        alone, pad = decode([prompt]), together.prompt_length - len(prompt)
        assert together.ids[i, pad:].tolist() == alone.ids[0].tolist(), (i, prompts)
        assert together.trace.order(i) == [[c + pad for c in step] for step in alone.trace.order()], (i, prompts)
        assert together.trace.nfe[i] == alone.trace.nfe[0]


@pytest.mark.parametrize("attention, cache", KINDS, ids=str)
def test_a_row_is_decoded_as_if_it_were_alone(attention, cache):
    rng = random.Random(f"{attention} {cache}")
    model = model_of(attention, rng.randrange(1000))
    for commit in RULES:
        options = dict(block_length=rng.choice([2, 3, 4, None]), stop_at_eos=rng.random() < 0.5)
        score = "probability" if isinstance(commit, Threshold) else rng.choice(["probability", "margin", "neg_entropy"])
        guidance = 0.7 if cache is None and rng.random() < 0.5 else 0.0
        sampler = Sampler(score, commit, guidance=guidance, cache=cache, eos_last=rng.random() < 0.3, **options)
        assert_rows_are_alone(
            lambda batch, sampler=sampler: sample(model, batch, gen_length=G, sampler=sampler),
            draw_prompts(rng, 3, infill=rng.random() < 0.7),
        )


@pytest.mark.parametrize("cache", [True, False])
def test_a_row_of_a_causal_model_is_decoded_as_if_it_were_alone(cache):
    rng = random.Random(cache)
    for seed in range(2):
        model = model_of("causal", seed)
        assert_rows_are_alone(
            lambda batch, model=model: autoregressive.sample(model, batch, gen_length=G, cache=cache),
            draw_prompts(rng, 3, infill=False),
        )
