"""The autoregressive twin: its cache changes the cost and nothing else."""

from types import SimpleNamespace

import pytest
import torch

from dlmlab.decode import autoregressive
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.cost import forward_flops
from dlmlab.network.model import LLaDAModelLM
from tests.mocks import ModelOf, RandomDenoiser

V, MASK, EOS = 14, 13, 0
SIZES = dict(d_model=32, n_heads=4, n_layers=2, mlp_hidden_size=48, vocab_size=V, mask_token_id=MASK, eos_token_id=EOS)
PROMPTS = [[3, 1, 4, 1, 5], [9], [2, 6, 5]]


def tiny(n_kv_heads: int = 4, seed: int = 0, attention: str = "causal") -> LLaDAModelLM:
    """Make a random model; wide weights keep the best two logits apart, so that rounding cannot swap them."""
    torch.manual_seed(seed)
    return LLaDAModelLM(LLaDAConfig(**SIZES, n_kv_heads=n_kv_heads, attention=attention, init_std=0.5)).eval()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Countdown:
    """Follow token n by n - 1, or by what `wish` prefers; a causal model as far as the decoder can see."""

    config = LLaDAConfig(**SIZES, attention="causal")
    device = torch.device("cpu")

    def __init__(self, wish: int | None = None):
        self.wish = wish

    def __call__(self, ids, valid, *, kv=None, logits_to_keep=None):
        logits = torch.nn.functional.one_hot((ids[:, -1:] - 1).clamp(min=0), V).float()  # (B, 1, V)
        if self.wish is not None:
            logits[..., self.wish] = 5.0
        return SimpleNamespace(logits=logits)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_the_cache_changes_no_token_and_lowers_the_cost(n_kv_heads, temperature):
    model = tiny(n_kv_heads)
    with_cache, without = (
        autoregressive.sample(model, PROMPTS, gen_length=9, temperature=temperature, cache=cache, generator=seeded(0))
        for cache in (True, False)
    )
    assert torch.equal(with_cache.ids, without.ids)
    assert with_cache.answers == without.answers
    assert with_cache.trace.nfe == without.trace.nfe
    assert with_cache.trace.flops < without.trace.flops
    assert with_cache.trace.tokens_through < without.trace.tokens_through


@pytest.mark.parametrize("cache", [True, False])
def test_a_batch_gives_what_its_rows_give_alone(cache):
    model = tiny()
    together = autoregressive.sample(model, PROMPTS, gen_length=9, cache=cache)
    for i, prompt in enumerate(PROMPTS):
        alone = autoregressive.sample(model, [prompt], gen_length=9, cache=cache)
        assert together.answers[i] == alone.answers[0]
        assert together.trace.nfe[i] == alone.trace.nfe[0]


def test_each_token_is_the_best_after_all_tokens_before_it():
    model, text = tiny(), list(PROMPTS[0])
    out = autoregressive.sample(model, [text], gen_length=6)
    for token in out.ids[0, len(text) :].tolist():
        with torch.no_grad():
            logits = model(torch.tensor([text])).logits[0, -1]  # position i predicts token i + 1
        logits[MASK] = -torch.inf
        assert token == logits.argmax()
        text.append(token)
        if token == EOS:
            break


@pytest.mark.parametrize("cache", [True, False])
def test_the_cost_is_one_prefill_and_one_token_a_forward(cache):
    model = tiny()
    model.config.eos_token_id = MASK  # never proposed: every row runs to the end
    out = autoregressive.sample(model, [[1, 2, 3], [4, 5, 6]], gen_length=4, cache=cache)
    queries = [3, 1, 1, 1] if cache else [3, 4, 5, 6]
    assert out.trace.nfe == [4, 4]
    assert out.trace.tokens_through == 2 * sum(queries)
    keys = [3, 4, 5, 6]
    flops = [forward_flops(model.config, q, k, logits=1) for q, k in zip(queries, keys, strict=True)]
    assert [step.flops for step in out.trace.steps] == [2 * f for f in flops]


def test_a_row_leaves_at_its_end_mark_and_stops_counting():
    out = autoregressive.sample(Countdown(), [[3], [9, 5], [1]], gen_length=6, cache=False)
    assert out.answers == [[2, 1], [4, 3, 2, 1], []]
    assert out.trace.nfe == [3, 5, 1]  # the end mark is a token too
    assert [len(step.rows) for step in out.trace.steps] == [3, 2, 2, 1, 1]
    assert out.ids[0].tolist() == [EOS, 3, 2, 1, EOS, EOS, EOS, EOS]  # padding, prompt, answer, end marks


def test_rows_leave_the_cache_with_the_batch():
    """The rows that stay must keep their own keys."""
    for seed in range(20):
        model = tiny(seed=seed)
        out = autoregressive.sample(model, PROMPTS, gen_length=9)
        if len(set(out.trace.nfe)) > 1:
            break
    assert len(set(out.trace.nfe)) > 1, "no seed ends its rows at different times"
    assert torch.equal(out.ids, autoregressive.sample(model, PROMPTS, gen_length=9, cache=False).ids)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_mask_is_never_written(temperature):
    options = dict(gen_length=8, temperature=temperature, cache=False, generator=seeded(0))
    out = autoregressive.sample(Countdown(wish=MASK), [[12]], **options)
    assert not (out.ids == MASK).any()


def test_a_seed_decides_the_text_and_the_global_generator_is_not_touched():
    model, before = tiny(), torch.get_rng_state()
    ids = [autoregressive.sample(model, PROMPTS, temperature=1.0, generator=seeded(s)).ids for s in (0, 0, 1)]
    assert torch.equal(ids[0], ids[1]) and not torch.equal(ids[0], ids[2])
    assert torch.equal(before, torch.get_rng_state())


def test_the_trace_replays_every_token_up_to_the_end_mark():
    model = tiny()
    out = autoregressive.sample(model, PROMPTS, gen_length=9)
    P = out.prompt_length
    for row, answer in enumerate(out.answers):
        assert out.trace.order(row) == [[P + i] for i in range(out.trace.nfe[row])]
        last = out.trace.states(row)[-1]
        n = P + len(answer)
        assert torch.equal(last[:n], out.ids[row, :n])


def test_the_trace_of_a_row_that_ends_early_replays_to_its_final_ids():
    out = autoregressive.sample(Countdown(), [[3]], gen_length=6, cache=False)
    assert torch.equal(out.trace.states()[-1], out.ids[0])


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("attention", ["full", "block:4"])
def test_a_model_that_is_not_causal_is_refused_by_name(attention):
    with pytest.raises(ValueError, match=f"attention='{attention}'.*dlmlab.sampling.sample"):
        autoregressive.sample(ModelOf(RandomDenoiser(V), MASK, EOS, attention=attention), PROMPTS)


def test_chance_needs_a_generator():
    with pytest.raises(ValueError, match="needs generator=torch.Generator"):
        autoregressive.sample(Countdown(), PROMPTS, temperature=1.0)


def test_a_text_longer_than_the_model_reads_is_refused():
    with pytest.raises(ValueError, match="outside 1..96"):
        autoregressive.sample(tiny(), [[1] * 97], gen_length=1)


wrong = {
    "no prompt": (dict(prompts=[]), "at least one prompt"),
    "a negative length": (dict(gen_length=-1), "-1"),
    "a negative temperature": (dict(temperature=-1.0), "temperature=-1.0"),
}


@pytest.mark.parametrize(
    "options, message",
    [pytest.param(*case, id=name) for name, case in wrong.items()],
)
def test_a_wrong_call_is_refused_with_the_value(options, message):
    call = dict(prompts=[[3]], gen_length=4, cache=False) | options
    with pytest.raises(ValueError, match=message):
        autoregressive.sample(Countdown(), call.pop("prompts"), **call)


def test_a_config_without_an_end_mark_is_refused_or_runs_to_the_end():
    model = tiny()
    del model.config.eos_token_id
    try:
        out = autoregressive.sample(model, [[1, 2]], gen_length=4)
    except ValueError as error:
        assert "eos" in str(error)
    else:
        assert out.trace.nfe == [4]
