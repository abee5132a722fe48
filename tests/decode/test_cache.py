"""Caches: where they must equal no cache, what they may look at, and that what they bill is what they compute."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dlmlab.decode.cache import BlockCache, Cache, DelayedCache, DualCache, PrefixCache, pack, replay
from dlmlab.decode.commit import EntropyBound, Factor, Fixed, Threshold
from dlmlab.decode.drift import drift, token_agreement
from dlmlab.decode.focus import Focus
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.network.cost import cached_tokens
from dlmlab.network.kv import KV
from tests.mocks import RandomDenoiser
from tests.tiny import one_thread as one_thread
from tests.tiny import tiny_ids, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

MASK, EOS, G = 3, 0, 8
SHAPE = {"n_layers": 3, "mask_token_id": MASK, "eos_token_id": EOS, "max_sequence_length": 64}
PROMPTS = [[1, 7, 9, 20, 11], [1, 8], [1, 30, 12], [1, 9, 9, 9, 9, 9, 14]]
RULES = [Fixed(), Fixed(4), Threshold(0.1), Factor(1.2), EntropyBound(3.0)]
APPROXIMATE = [PrefixCache(), DualCache(), DelayedCache(), Focus()]
every_cache = pytest.mark.parametrize("cache", APPROXIMATE, ids=str)
every_rule = pytest.mark.parametrize("commit", RULES, ids=str)


@pytest.fixture(scope="module")
def model():
    return tiny_model(**SHAPE)


def run(model, cache=None, commit=None, block_length=4, prompts=PROMPTS, **options):
    sampler = Sampler(commit=commit or Fixed(), block_length=block_length, cache=cache, **options)
    return sample(model, prompts, gen_length=G, sampler=sampler)


# ------------------------------------------------------------------------------------------- where a cache is no cache


@every_cache
def test_one_step_per_block_equals_no_cache(model, cache):
    for commit in (Fixed(2), Threshold(0.0)):
        cached, plain = run(model, cache, commit), run(model, None, commit)
        assert torch.equal(cached.ids, plain.ids)
        assert cached.trace.nfe == plain.trace.nfe == [2] * 4


@every_rule
@pytest.mark.parametrize("kind", [PrefixCache, DualCache, DelayedCache, Focus])
def test_a_refresh_at_every_step_equals_no_cache(model, kind, commit):
    """Invariant 9."""
    cached, plain = run(model, kind(refresh=1), commit), run(model, None, commit)
    assert torch.equal(cached.ids, plain.ids)
    assert [s.flops for s in cached.trace.steps] == [s.flops for s in plain.trace.steps]


@every_rule
@pytest.mark.parametrize("cache", [BlockCache(), PrefixCache()], ids=str)
@pytest.mark.parametrize("prompts", [PROMPTS, [p[:1] for p in PROMPTS], [[1, MASK, 5, MASK, 6, 2, 2], [1, 2, MASK]]])
def test_a_cache_is_exact_on_a_block_causal_model(cache, commit, prompts):
    """Invariant 8; blocks of the sampler need not be those of the attention."""
    model = tiny_model("block:4", **SHAPE)
    for length in (4, 3, None):
        cached = run(model, cache, commit, length, prompts)
        plain = run(model, None, commit, length, prompts)
        assert torch.equal(cached.ids, plain.ids) and cached.trace.nfe == plain.trace.nfe
        for a, b in zip(cached.trace.steps, plain.trace.steps, strict=True):
            torch.testing.assert_close(a.confidence, b.confidence, atol=1e-5, rtol=1e-4)
        assert cached.trace.tokens_through <= plain.trace.tokens_through


def test_rows_that_stop_leave_the_exact_cache_too():
    model = tiny_model("block:4", **SHAPE)
    with torch.no_grad():
        model.get_output_embeddings().weight[EOS] = model.get_output_embeddings().weight[20] * 1.2
    plain, cached = (run(model, cache, Threshold(0.3), stop_at_eos=True) for cache in (None, BlockCache()))
    assert len(set(plain.trace.nfe)) > 1
    assert torch.equal(cached.ids, plain.ids) and cached.trace.nfe == plain.trace.nfe


def test_full_attention_has_no_exact_cache(model):
    with pytest.raises(ValueError, match="BlockCache needs attention='block:K', the model has 'full'"):
        run(model, BlockCache())


def test_a_cache_changes_something(model):
    """Otherwise the tests above would prove nothing."""
    plain = run(model, None)
    for cache in APPROXIMATE:
        assert not torch.equal(run(model, cache).ids, plain.ids)


# ---------------------------------------------------------------------------------------------------- rows and threads


@every_cache
@pytest.mark.parametrize("commit", [Fixed(), Threshold(0.1)], ids=str)
def test_a_row_does_not_depend_on_its_neighbours(model, cache, commit):
    together = run(model, cache, commit)
    for i, prompt in enumerate(PROMPTS):
        alone = run(model, cache, commit, prompts=[prompt])
        assert alone.answers[0] == together.answers[i] and alone.trace.nfe[0] == together.trace.nfe[i]
        confidence = [
            torch.cat([s.confidence[s.at[:, 0] == r] for s in o.trace.steps]) for o, r in ((alone, 0), (together, i))
        ]
        torch.testing.assert_close(*confidence, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("cache", [None, *APPROXIMATE], ids=str)
def test_one_and_two_threads_batch_1_and_64_write_the_same_tokens(model, cache):
    batch = [PROMPTS[i % 4] + [10 + i % 38] for i in range(64)]
    one = run(model, cache, Threshold(0.1), prompts=batch)
    torch.set_num_threads(2)
    two = run(model, cache, Threshold(0.1), prompts=batch)
    torch.set_num_threads(1)
    assert torch.equal(one.ids, two.ids)
    assert one.answers[:6] == [run(model, cache, Threshold(0.1), prompts=[p]).answers[0] for p in batch[:6]]


# --------------------------------------------------------------------------------------------------- what is computed


@pytest.mark.parametrize("cache", [None, *APPROXIMATE], ids=str)
def test_the_bill_is_what_torch_counts(model, cache):
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        out = run(model, cache, Threshold(0.1))
    assert out.trace.flops == counter.get_total_flops()


def test_the_bill_of_the_exact_cache_is_what_torch_counts():
    model = tiny_model("block:4", **SHAPE)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        out = run(model, BlockCache(), Threshold(0.1))
    assert out.trace.flops == counter.get_total_flops()


def tokens_by_step(model, cache):
    return [s.tokens_through for s in run(model, cache, prompts=[[1, 7, 9, 20]]).trace.steps]


def test_each_kind_computes_its_columns(model):
    """One token a step, blocks of 4, 12 columns."""
    assert tokens_by_step(model, None) == [12] * 8
    assert tokens_by_step(model, PrefixCache()) == [12, 8, 8, 8, 12, 4, 4, 4]
    assert tokens_by_step(model, DualCache()) == [12, 4, 4, 4] * 2
    assert tokens_by_step(model, DualCache(refresh=2)) == [12, 4] * 4
    assert tokens_by_step(model, DelayedCache()) == [12, 8, 7, 6, 12, 4, 3, 2]  # masks and the one just committed
    assert tokens_by_step(tiny_model("block:4", **SHAPE), BlockCache()) == [8, 4, 4, 4, 8, 4, 4, 4]


def test_a_committed_token_is_computed_once_more_and_then_kept(model):
    """The delayed cache stores keys of the token, not those of the mask that stood there."""
    seen = []

    class Spy(DelayedCache):
        def due(self, moment):
            seen.append((moment.masked.clone(), super().due(moment)))
            return seen[-1][1]

    out = run(model, Spy(), prompts=[[1, 2, 3]], block_length=None)
    masked, due = (torch.stack(x)[:, 0] for x in zip(*seen, strict=True))  # (S, L)
    for column in range(3, 3 + G):
        extra = (due[:, column] & ~masked[:, column]).sum()
        assert extra <= 1
    assert int((due & ~masked).sum()) == len(out.trace.steps) - 1


def test_keys_of_given_positions_are_replaced(model):
    ids, other = tiny_ids(2, 9), tiny_ids(2, 9, seed=1)
    at = torch.tensor([[2, 5, 5], [0, 8, 3]])
    kv, mixed = KV(), ids.scatter(1, at, other.gather(1, at))
    with torch.no_grad():
        model(ids, kv=kv)
        first = [k.clone() for k, _ in kv.layers]
        model(mixed.gather(1, at), kv=kv, positions=at)
        whole = KV()
        model(mixed, kv=whole)
    changed = torch.zeros_like(ids, dtype=torch.bool).scatter(1, at, True)
    for (k, _), before in zip(kv.layers, first, strict=True):
        assert ((k != before).any(-1).any(1) == changed).all()
    torch.testing.assert_close(kv.layers[0][0], whole.layers[0][0])  # the first layer sees no neighbours


@pytest.mark.parametrize("attention", ["full", "block:4"])
def test_replacing_everything_is_a_forward(attention):
    model, ids = tiny_model(attention, **SHAPE), tiny_ids(2, 9)
    valid = torch.ones_like(ids, dtype=torch.bool)
    valid[1, :2] = False
    with torch.no_grad():
        kv = KV()
        model(tiny_ids(2, 9, seed=5), valid, kv=kv)
        order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
        again = model(ids[:, order], kv=kv, positions=order).logits
        torch.testing.assert_close(again, model(ids, valid).logits[:, order], atol=1e-4, rtol=1e-4)
        picked = model(ids[:, order], kv=kv, positions=order, logits_to_keep=torch.tensor([[1, 0], [4, 4]])).logits
        torch.testing.assert_close(picked[1, 0], again[1, 4], atol=1e-4, rtol=1e-4)


def test_packing_repeats_only_what_is_due():
    due = torch.tensor([[0, 1, 0, 1, 1], [1, 0, 0, 0, 0]])
    assert pack(due).tolist() == [[1, 3, 4], [0, 0, 0]]


@pytest.mark.parametrize("cache", [None, *APPROXIMATE, DualCache(refresh=2), DelayedCache(refresh=3)], ids=str)
@pytest.mark.parametrize("commit", [Fixed(), Threshold(0.1)], ids=str)
def test_a_trace_tells_what_each_forward_computed(model, cache, commit):
    for block_length in (4, None):
        out = run(model, cache, commit, block_length, PROMPTS[:1])
        sampler = Sampler(cache=cache, block_length=block_length)
        assert replay(out, sampler, MASK).sum(1).tolist() == [s.tokens_through for s in out.trace.steps]


def test_the_cost_model_predicts_the_trace(model):
    for name, cache in {"none": None, "prefix": PrefixCache(), "dual": DualCache()}.items():
        for length in (2, 4, 8):  # one token a forward, so a block takes as many forwards as it is long
            out = run(model, cache, Fixed(), length, PROMPTS[:1])
            assert out.trace.tokens_through == cached_tokens(5, G, length, length, name)


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda model: DualCache(refresh=0), "refresh=0 .*>= 1"),
        (lambda model: BlockCache(refresh=2), "refresh=2: BlockCache is exact"),
        (lambda model: Focus(alpha=0.0), "alpha=0.0 .*> 0"),
        (lambda model: Sampler(guidance=1.0, cache=DualCache()), "guidance=1.0 reads two texts"),
        (lambda model: run(RandomDenoiser(50), DualCache()), "mask_id is needed"),
        (lambda model: run(tiny_model(**SHAPE | {"n_layers": 2}), Focus()), "n_layers=2"),
        (lambda model: drift(model, run(model), ages=(0,)), "age=0"),
        (lambda model: token_agreement(run(model), run(model, prompts=[[1]])), "4 and 1 answers"),
    ],
)
def test_a_wrong_request_is_refused_with_the_value_and_what_is_allowed(model, make, message):
    with pytest.raises(ValueError, match=message):
        make(model)


def test_a_function_has_no_keys_to_cache():
    sampler = Sampler(cache=DualCache())
    with pytest.raises(ValueError, match="needs a LLaDAModelLM, got RandomDenoiser"):
        sample(RandomDenoiser(50), [[1]], gen_length=2, sampler=sampler, mask_id=MASK)
    assert isinstance(sampler.cache, Cache)
