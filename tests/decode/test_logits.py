"""From logits to a token: nothing that is not finite is chosen, nor an id that is none; the error says where."""

import math

import pytest
import torch

from dlmlab.decode import autoregressive, literal
from dlmlab.decode.cache import BlockCache, DelayedCache, DualCache, PrefixCache
from dlmlab.decode.commit import EntropyBound, Factor, Fixed, Threshold
from dlmlab.decode.focus import Focus
from dlmlab.decode.sampling import Sampler, guided_logits, sample
from dlmlab.measure.evaluate import accuracy, next_result
from dlmlab.task.tasks import make_problem
from dlmlab.task.tokenizer import build_tokenizer
from tests.mocks import RandomDenoiser
from tests.tiny import one_thread as one_thread
from tests.tiny import tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

MASK, EOS, V = 3, 0, 50
SHAPE = {"mask_token_id": MASK, "eos_token_id": EOS, "n_layers": 3, "max_sequence_length": 96}
PROMPTS = [[5, 7, 9], [8], [4, 4, 6, 1]]
BAD = {"NaN": math.nan, r"\+inf": math.inf, "-inf for every token": -math.inf}
RULES = [Fixed(), Fixed(2), Threshold(0.9), Factor(1.0), EntropyBound(0.1)]
DECODERS = {str(rule): ("full", Sampler(commit=rule)) for rule in RULES} | {
    "warm": ("full", Sampler(temperature=0.7)),
    "guided": ("full", Sampler(guidance=1.0)),
    "prefix": ("full", Sampler(cache=PrefixCache())),
    "dual": ("full", Sampler(cache=DualCache())),
    "delayed": ("full", Sampler(cache=DelayedCache())),
    "focus": ("full", Sampler(cache=Focus())),
    "block": ("block:4", Sampler(cache=BlockCache())),
    "twin": ("causal", None),
}
every_decoder = pytest.mark.parametrize("attention, sampler", DECODERS.values(), ids=DECODERS)


def run(model, sampler, prompts=PROMPTS, **options):
    options |= dict(gen_length=4, generator=torch.Generator().manual_seed(0))
    if sampler is None:
        return autoregressive.sample(model, prompts, **options)
    return sample(model, prompts, sampler=sampler, **options)


@every_decoder
@pytest.mark.parametrize("name, value", BAD.items(), ids=BAD)
def test_a_model_without_finite_logits_is_an_error_that_says_where(attention, sampler, name, value):
    model = tiny_model(attention, **SHAPE)
    model.get_output_embeddings().register_forward_hook(lambda module, inputs, out: torch.full_like(out, value))
    if sampler and sampler.guidance and value == math.inf:
        name = "NaN"  # inf - inf
    with pytest.raises(ValueError, match=f"forward 1, row 0, position 3: logits are {name}"):
        run(model, sampler)


@every_decoder
def test_one_weight_that_is_nan_is_found(attention, sampler):
    model = tiny_model(attention, **SHAPE)
    with torch.no_grad():
        model.get_output_embeddings().weight[17, 2] = math.nan
    with pytest.raises(ValueError, match="forward 1, row 0, .*NaN"):
        run(model, sampler)


@every_decoder
def test_a_cast_that_overflows_is_found(attention, sampler):
    model = tiny_model(attention, **SHAPE)
    with torch.no_grad():
        model.get_output_embeddings().weight[17] *= 1e6
    run(model, sampler)
    with pytest.raises(ValueError, match="logits are"):
        run(model.half(), sampler)


def test_the_place_is_the_first_that_fails():
    """Row 2, the third answer token, at the first forward that sees two of them."""

    def denoise(ids, valid):
        logits = RandomDenoiser(V)(ids, valid)
        late = (ids == MASK).sum(1) <= 2
        logits[late & (ids[:, 0] == 4), 6, 20] = math.nan
        return logits

    sampler = Sampler("left_to_right")
    with pytest.raises(ValueError, match=r"forward 3, row 2, position 6: logits are NaN \(1 of 6 positions\)"):
        sample(denoise, PROMPTS, gen_length=4, sampler=sampler, mask_id=MASK)


def test_positions_are_counted_without_padding():
    def denoise(ids, valid):
        return RandomDenoiser(V)(ids, valid).index_fill_(0, torch.tensor([1]), math.nan)

    with pytest.raises(ValueError, match="row 1, position 1:"):
        sample(denoise, PROMPTS, gen_length=4, mask_id=MASK)


def test_what_is_not_used_may_be_anything():
    """Padding, prompt, later blocks and the logit of the mask are not read."""

    def denoise(ids, valid):
        logits = RandomDenoiser(V)(ids, valid)
        logits[ids != MASK] = math.nan
        logits[..., MASK] = math.inf
        return logits

    out = sample(denoise, PROMPTS, gen_length=4, sampler=Sampler(block_length=2), mask_id=MASK)
    assert not (out.ids == MASK).any()


def test_ruling_tokens_out_is_fine_as_long_as_one_is_left():
    def only(token):
        return lambda ids, valid: torch.full((*ids.shape, V), -torch.inf).index_fill_(-1, torch.tensor([token]), -7.0)

    assert (sample(only(9), [[1]], gen_length=4, mask_id=MASK).ids[:, 1:] == 9).all()
    for token, sampler in ((MASK, Sampler()), (9, Sampler(forbid=(9,)))):
        with pytest.raises(ValueError, match="-inf for every token"):
            sample(only(token), [[1]], gen_length=4, sampler=sampler, mask_id=MASK)


@pytest.mark.parametrize("cond", [1.0, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("blind", [1.0, math.inf, -math.inf, math.nan])
def test_guidance_hides_no_infinity(cond, blind):
    """Finite or ruled out by one pass: what `cond` says. Anything else is left for the check to find."""
    passes = iter([torch.full((1, 1, 1), cond), torch.full((1, 1, 1), blind)])
    ids = torch.zeros(1, 1, dtype=torch.long)
    out = float(guided_logits(lambda x, valid: next(passes), ids, None, ids.bool(), 1.0, MASK))
    if cond < math.inf and blind < math.inf:
        assert out == cond
    else:
        assert not out < math.inf


def test_measures_of_a_broken_model_are_errors_and_not_0_percent():
    tokenizer, problems = build_tokenizer(), [make_problem(0)]
    ids = dict(mask_token_id=tokenizer.mask_token_id, eos_token_id=tokenizer.eos_token_id, vocab_size=len(tokenizer))
    for attention in ("full", "causal"):
        model = tiny_model(attention, **SHAPE | ids)
        with torch.no_grad():
            model.get_output_embeddings().weight[1] = math.nan
        for measure in (accuracy, next_result):
            with pytest.raises(ValueError, match="logits are NaN"):
                measure(model, tokenizer, problems)


def test_the_published_sampler_looks_too():
    model = tiny_model(**SHAPE)
    with torch.no_grad():
        model.get_output_embeddings().weight[17] = math.nan
    with pytest.raises(ValueError, match="forward 1, row 0, position 3: logits are NaN"):
        literal.generate(model, PROMPTS, gen_length=4)


# --------------------------------------------------------------------------------------------- ids that are no tokens


@every_decoder
@pytest.mark.parametrize("wish", [V, V + 5, MASK])
def test_neither_the_mask_nor_a_place_past_the_vocabulary_is_written(attention, sampler, wish):
    """The 8B pads its table; here the head wants such a place above all."""
    model = tiny_model(attention, **SHAPE | {"embedding_size": 64})
    model.get_output_embeddings().register_forward_hook(
        lambda module, inputs, out: out.index_fill(-1, torch.tensor([wish]), 50.0)
    )
    out = run(model, sampler)
    assert bool((out.ids < V).all()) and not (out.ids == MASK).any()
    assert all(bool((step.confidence > 1e-5).all()) for step in out.trace.steps)  # shared among real tokens


@pytest.mark.parametrize("temperature", [1e-3, 1.0, 100.0, 1e6])
@pytest.mark.parametrize("attention", ["full", "causal"])
def test_no_temperature_brings_the_mask_back(attention, temperature):
    model = tiny_model(attention, **SHAPE | {"embedding_size": 64})
    for seed in range(3):
        options = dict(gen_length=8, generator=torch.Generator().manual_seed(seed))
        if attention == "causal":
            out = autoregressive.sample(model, PROMPTS, temperature=temperature, **options)
        else:
            out = sample(model, PROMPTS, sampler=Sampler(temperature=temperature), **options)
        assert bool((out.ids < V).all()) and not (out.ids == MASK).any()
