"""The decode loop: what it may never do, what it must equal, and what its trace says it did.

Numbers 1-11 in brackets are the invariants of the decode contract (reference/sampling-methods.md, section 7).
"""

import json
from dataclasses import dataclass

import pytest
import torch
from scipy.stats import chisquare

from dlmlab.decode.cache import BlockCache
from dlmlab.decode.commit import Commit, EntropyBound, Factor, Fixed, Threshold
from dlmlab.decode.edit import Replace
from dlmlab.decode.sampling import Sampler, block_ends, guided_logits, gumbel_argmax, left_pad, sample
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.cost import forward_flops
from dlmlab.network.kv import KV
from dlmlab.network.model import LLaDAModelLM
from tests.mocks import CountingDenoiser, ModelOf, OracleDenoiser, RandomDenoiser, ToyDenoiser, UniformDenoiser
from tests.reference_sampler import reference_states
from tests.tiny import tiny_model

V, G = 11, 8
SEEDS = range(3)
# Special ids at both ends of the vocabulary; in either case token 0 is in use.
IDS = {"mask 10, eos 0": (10, 0), "mask 0, eos 4": (0, 4)}


def prompts(mask_id: int) -> list[list[int]]:
    """Unequal prompts; token 0 or the end mark inside one, masks to fill in two, in different numbers."""
    other = 10 - mask_id
    return [[other, 3, 1, 0 if mask_id else 4], [5], [2, mask_id, 4, mask_id, mask_id, 1], [mask_id, 7]]


SAMPLERS = {
    "one a forward": Sampler(),
    "5 forwards": Sampler(commit=Fixed(5)),
    "12 forwards in blocks": Sampler(commit=Fixed(12), block_length=3),
    "margin": Sampler(score="margin", block_length=3),
    "entropy": Sampler(score="neg_entropy", commit=Fixed(4)),
    "left to right": Sampler(score="left_to_right"),
    "threshold": Sampler(commit=Threshold(0.3), block_length=4),
    "factor": Sampler(commit=Factor(1.5)),
    "entropy bound": Sampler(commit=EntropyBound(1.0)),
    "guided": Sampler(guidance=1.5, commit=Threshold(0.3)),
    "no end mark": Sampler(forbid=(0, 4), commit=Threshold(0.3)),
    "end marks last": Sampler(eos_last=True, commit=Factor(1.5)),
    "stop": Sampler(stop_at_eos=True, score="left_to_right"),
}
CHANCE = {
    "warm": Sampler(temperature=0.8),
    "random order": Sampler(score="random", commit=Fixed(5), block_length=3),
    "warm threshold": Sampler(temperature=1.3, commit=Threshold(0.3), block_length=4),
}
every_sampler = pytest.mark.parametrize("sampler", [pytest.param(s, id=n) for n, s in (SAMPLERS | CHANCE).items()])
certain_samplers = pytest.mark.parametrize("sampler", [pytest.param(s, id=n) for n, s in SAMPLERS.items()])
both_masks = pytest.mark.parametrize("mask_id, eos_id", IDS.values(), ids=IDS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run(sampler, mask_id, eos_id, seed=0, batch=None, denoiser=None):
    """Sample `G` tokens after the prompts of this module."""
    denoiser = denoiser or RandomDenoiser(V, seed)
    batch = prompts(mask_id) if batch is None else batch
    options = dict(gen_length=G, generator=seeded(seed), mask_id=mask_id, eos_id=eos_id)
    return sample(denoiser, batch, sampler=sampler, **options)


# ----------------------------------------------------------------------------------------------- what holds always


@every_sampler
@both_masks
def test_given_tokens_never_change_and_no_mask_is_left(sampler, mask_id, eos_id):
    """[1] [3]"""
    for seed in SEEDS:
        out = run(sampler, mask_id, eos_id, seed)
        start = out.trace.start
        assert torch.equal(start[:, : out.prompt_length], left_pad(prompts(mask_id), eos_id, "cpu")[0])
        assert (start[:, out.prompt_length :] == mask_id).all()
        given = start != mask_id
        assert torch.equal(out.ids[given], start[given])
        assert not (out.ids == mask_id).any()


@every_sampler
def test_the_number_of_forwards_is_bounded_by_the_number_of_masks(sampler):
    """[2]"""
    for seed in SEEDS:
        denoiser = CountingDenoiser(RandomDenoiser(V, seed))
        out = run(sampler, 10, 0, seed, denoiser=denoiser)
        per_step = 2 if sampler.guidance else 1
        masks = (out.trace.start == 10).sum(1).tolist()
        assert all(0 < n <= per_step * m for n, m in zip(out.trace.nfe, masks, strict=True))
        assert len(denoiser.batches) <= per_step * max(masks)


@every_sampler
@both_masks
def test_committed_tokens_are_never_the_mask(sampler, mask_id, eos_id):
    """[4] The denoiser wants nothing but the mask."""

    def longing(ids, valid=None):
        logits = RandomDenoiser(V)(ids, valid)
        logits[..., mask_id] = 50.0
        return logits

    out = run(sampler, mask_id, eos_id, denoiser=longing)
    assert not (out.ids == mask_id).any()
    for step in out.trace.steps:
        assert not (step.tokens == mask_id).any()
        assert (step.confidence > 1e-5).all()  # the probability is shared among the other tokens


@certain_samplers
def test_a_permutation_of_the_rows_permutes_the_output(sampler):
    """[6]"""
    batch = prompts(10)
    for seed in SEEDS:
        order = torch.randperm(len(batch), generator=seeded(seed)).tolist()
        straight = run(sampler, 10, 0, seed)
        shuffled = run(sampler, 10, 0, seed, batch=[batch[i] for i in order])
        assert torch.equal(shuffled.ids, straight.ids[order])
        assert shuffled.trace.nfe == [straight.trace.nfe[i] for i in order]


@certain_samplers
def test_a_row_does_not_depend_on_its_padding_or_its_neighbours(sampler):
    """[7] The denoiser respects the attention mask exactly, so equality is exact."""
    batch = prompts(10)
    for seed in SEEDS:
        together = run(sampler, 10, 0, seed)
        for i, prompt in enumerate(batch):
            alone = run(sampler, 10, 0, seed, batch=[prompt])
            pad = together.prompt_length - len(prompt)
            assert together.ids[i, pad:].tolist() == alone.ids[0].tolist()
            assert together.answers[i] == alone.answers[0]
            assert together.trace.order(i) == [[c + pad for c in step] for step in alone.trace.order()]
            assert together.trace.nfe[i] == alone.trace.nfe[0]


@every_sampler
def test_a_seed_decides_everything_and_the_global_generator_is_not_touched(sampler):
    before = torch.get_rng_state()
    assert torch.equal(run(sampler, 10, 0, 5).ids, run(sampler, 10, 0, 5).ids)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("sampler", [pytest.param(s, id=n) for n, s in CHANCE.items()])
def test_another_seed_gives_another_text(sampler):
    one, other = (run(sampler, 10, 0, seed, denoiser=RandomDenoiser(V)) for seed in (0, 1))
    assert not torch.equal(one.ids, other.ids)


def test_a_perfect_denoiser_is_read_out_whatever_the_order():
    x0 = torch.randint(1, V - 1, (3, 12), generator=seeded(0))
    x0[:, 0] = torch.tensor([1, 2, 3])
    for name, sampler in (SAMPLERS | CHANCE).items():
        if not sampler.forbid:
            out = run(sampler, 10, 0, batch=x0[:, :4], denoiser=OracleDenoiser(x0, V, 10))
            assert torch.equal(out.ids, x0), name


# ------------------------------------------------------------------------------------- equality with the literature

GOLDEN = {  # reference/sampling-methods.md, section 7.1, printed by the numpy oracle/ref_sampler.py: ids, NFE, order
    "fixed 8, probability": (
        Sampler(commit=Fixed(8)),
        ([2, 9, 1, 7, 0, 4, 8, 4], 8, [[5], [7], [1], [0], [2], [3], [6], [4]]),
    ),
    "fixed 8, margin": (
        Sampler(score="margin", commit=Fixed(8)),
        ([2, 9, 1, 2, 9, 4, 8, 8], 8, [[5], [3], [1], [4], [7], [0], [2], [6]]),
    ),
    "fixed 8, entropy": (
        Sampler(score="neg_entropy", commit=Fixed(8)),
        ([6, 9, 1, 5, 1, 4, 9, 1], 8, [[5], [4], [2], [1], [7], [6], [3], [0]]),
    ),
    "fixed 3 per block of 4": (
        Sampler(commit=Fixed(6), block_length=4),
        ([9, 9, 9, 4, 6, 4, 7, 4], 6, [[0, 3], [2], [1], [5, 7], [6], [4]]),
    ),
    "threshold .3, block 4": (
        Sampler(commit=Threshold(0.3), block_length=4),
        ([9, 9, 0, 4, 9, 3, 6, 8], 3, [[0, 2, 3], [1], [4, 5, 6, 7]]),
    ),
    "threshold .5, block 4": (
        Sampler(commit=Threshold(0.5), block_length=4),
        ([3, 9, 9, 4, 9, 3, 7, 8], 8, [[3], [0], [1], [2], [5], [7], [4], [6]]),
    ),
    "factor 2": (
        Sampler(commit=Factor(2.0)),
        ([8, 9, 5, 4, 9, 4, 7, 8], 5, [[3, 5], [0, 1], [2, 7], [4], [6]]),
    ),
    "entropy bound 3": (
        Sampler(commit=EntropyBound(3.0)),
        ([9, 9, 5, 9, 4, 4, 7, 8], 3, [[0, 4, 5], [1, 2, 7], [3, 6]]),
    ),
}


@pytest.mark.parametrize("sampler, golden", GOLDEN.values(), ids=GOLDEN)
def test_golden_traces_are_reproduced(sampler, golden):
    out = sample(ToyDenoiser(), [[1, 2, 3]], gen_length=8, sampler=sampler, mask_id=10)
    order = [[column - 3 for column in step] for step in out.trace.order()]
    assert (out.ids[0, 3:].tolist(), out.trace.nfe[0], order) == golden


def assert_equals_reference(denoiser, sampler, *, steps, seed=0):
    prompt = torch.tensor([[0, 3, 1], [9, 0, 2]])
    block, chance = sampler.block_length or G, dict(T=sampler.temperature, random=sampler.score == "random")
    options = dict(mask_id=10, steps=steps, length=G, block=block, w=sampler.guidance, generator=seeded(seed))
    expected = reference_states(denoiser, prompt, **options, **chance)
    out = sample(denoiser, prompt, gen_length=G, sampler=sampler, generator=seeded(seed), mask_id=10)
    for row in range(len(prompt)):
        assert torch.equal(torch.stack(out.trace.states(row)), torch.stack(expected)[:, row])


@pytest.mark.parametrize("denoiser", ["no ties", "tied tokens", "tied positions", "all tied"])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("score", ["probability", "random"])
def test_every_step_equals_the_published_sampler(denoiser, temperature, score):
    """[5] In one block and in two, with and without guidance, one token a step and more."""
    for seed in SEEDS:
        model = {
            "no ties": RandomDenoiser(V, seed),
            "tied tokens": RandomDenoiser(V, seed, levels=3),
            "tied positions": RandomDenoiser(V, seed, twins=True),
            "all tied": UniformDenoiser(V),
        }[denoiser]
        for block, w, steps in ((None, 0.0, 8), (None, 1.5, 3), (4, 0.0, 6), (4, 0.5, 2)):
            sampler = Sampler(score, Fixed(steps), temperature=temperature, guidance=w, block_length=block)
            assert_equals_reference(model, sampler, steps=steps, seed=seed)


def test_steps_beyond_the_number_of_tokens_change_nothing_and_are_not_run():
    prompt = torch.tensor([[1, 2, 3]])
    # Twelve forwards for eight tokens: two in each block of the published sampler commit nothing.
    expected = reference_states(RandomDenoiser(V), prompt, mask_id=10, steps=12, length=G, block=4)
    out = sample(RandomDenoiser(V), prompt, gen_length=G, sampler=Sampler(commit=Fixed(12), block_length=4), mask_id=10)
    assert torch.equal(out.ids, expected[-1])
    assert out.trace.nfe == [8]


def test_blocks_of_any_length_share_the_steps_and_fill_from_left_to_right():
    out = run(Sampler(commit=Fixed(7), block_length=3), 10, 0, batch=[[1, 2]])
    columns = [c - 2 for step in out.trace.order() for c in step]
    assert [sorted(columns[:3]), sorted(columns[3:6]), sorted(columns[6:])] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [len(step) for step in out.trace.order()] == [1, 1, 1, 2, 1, 1, 1]  # 3 + 2 + 2 forwards


# ------------------------------------------------------------------------------------------------ limits of the rules


def test_a_threshold_nothing_reaches_commits_one_token_a_forward_as_the_default_does():
    """[10]"""
    for seed in SEEDS:
        out = run(Sampler(commit=Threshold(1.5), block_length=4), 10, 0, seed)
        assert torch.equal(out.ids, run(Sampler(block_length=4), 10, 0, seed).ids)
        for row in range(4):
            assert all(len(step) == 1 for step in out.trace.order(row))


@pytest.mark.parametrize("loose", [Threshold(0.0), Factor(1e9), EntropyBound(1e9)], ids=str)
def test_a_rule_that_everything_passes_needs_one_forward_a_block(loose):
    """[10]"""
    for block_length, blocks in ((None, 1), (4, 2), (3, 3)):
        assert run(Sampler(commit=loose, block_length=block_length), 10, 0).trace.nfe == [blocks] * 4


@pytest.mark.parametrize("tight", [Factor(1e-6), EntropyBound(0.0)], ids=str)
def test_a_rule_that_nothing_passes_commits_one_token_a_forward(tight):
    """[11]"""
    out = run(Sampler(commit=tight), 10, 0)
    for row in range(4):
        assert all(len(step) == 1 for step in out.trace.order(row))


def test_a_block_causal_model_gives_the_same_logits_from_its_cache():
    """[8] Finished blocks go through the cache once; the next block then sees what it would see in the whole text."""
    torch.manual_seed(0)
    K, sizes = 4, dict(d_model=32, n_heads=4, n_kv_heads=2, n_layers=3, mlp_hidden_size=48, vocab_size=20, init_std=0.2)
    model = LLaDAModelLM(LLaDAConfig(**sizes, attention=f"block:{K}")).eval()
    ids = torch.randint(20, (2, 3 * K), generator=seeded(0))
    valid = torch.ones_like(ids, dtype=torch.bool)
    valid[1, :K] = False  # left padding; by a whole block, as the blocks of a row begin at its first token
    with torch.no_grad():
        whole = model(ids, valid).logits
        for past in (K, 2 * K):
            kv = KV()
            for b in range(0, past, K):
                model(ids[:, b : b + K], valid[:, b : b + K], kv=kv)
            cached = model(ids[:, past : past + K], valid[:, past : past + K], kv=kv).logits
            torch.testing.assert_close(cached, whole[:, past : past + K], atol=1e-5, rtol=0)


def test_left_padding_leaves_the_logits_of_the_model_as_they_are():
    """[7] on the transformer, to rounding: relative positions do not move."""
    torch.manual_seed(0)
    sizes = dict(d_model=32, n_heads=4, n_layers=3, mlp_hidden_size=48, vocab_size=20, init_std=0.2)
    model = LLaDAModelLM(LLaDAConfig(**sizes)).eval()
    ids = torch.randint(20, (1, 9), generator=seeded(1))
    padded, valid = left_pad([ids[0].tolist(), [1] * 14], 0, "cpu")
    with torch.no_grad():
        torch.testing.assert_close(model(padded, valid).logits[:1, 5:], model(ids).logits, atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------- temperature and guidance


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_gumbel_draws_follow_the_softmax_of_the_tempered_logits(temperature):
    logits, n = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5, -torch.inf]), 20_000
    counts = gumbel_argmax(logits.expand(1, n, 6), temperature, seeded(0))[0].bincount(minlength=6)
    assert counts[5] == 0
    expected = n * (logits[:5].double() / temperature).softmax(-1)
    assert chisquare(counts[:5].numpy(), expected.numpy()).pvalue > 1e-3


def test_gumbel_noise_is_drawn_in_float64():
    logits = RandomDenoiser(V)(torch.arange(64)[None])
    u = torch.rand(logits.shape, generator=seeded(3), dtype=torch.float64)
    expected = (logits.double() / 0.9 - (-u.log()).log()).argmax(-1)
    assert torch.equal(gumbel_argmax(logits, 0.9, seeded(3)), expected)


def test_temperature_zero_draws_nothing_and_takes_the_first_of_equals():
    generator = seeded(0)
    before = generator.get_state()
    assert gumbel_argmax(torch.tensor([[[1.0, 2.0, 2.0]]]), 0.0, generator).tolist() == [[1]]
    assert torch.equal(before, generator.get_state())


def test_confidence_is_that_of_the_clean_logits_at_any_temperature():
    out = run(Sampler(temperature=1.5), 10, 0, seed=2)
    for row in range(4):
        steps = [s for s in out.trace.steps if row in s.rows]
        for state, step in zip(out.trace.states(row), steps, strict=False):
            pad = out.prompt_length - len(prompts(10)[row])
            logits = RandomDenoiser(V, 2)(state[None, pad:])
            logits[..., 10] = -torch.inf
            mine = step.at[:, 0] == row
            p = logits.softmax(-1)[0, step.at[mine, 1] - pad, step.tokens[mine]]
            torch.testing.assert_close(step.confidence[mine], p)


def test_guidance_of_zero_is_the_plain_sampler_and_costs_one_forward():
    denoiser = CountingDenoiser(RandomDenoiser(V))
    guided = run(Sampler(guidance=0.0), 10, 0, denoiser=denoiser)
    assert torch.equal(guided.ids, run(Sampler(), 10, 0).ids)
    assert len(denoiser.batches) == len(guided.trace.steps)


def test_guidance_costs_two_forwards_a_step_and_the_trace_counts_both():
    denoiser = CountingDenoiser(RandomDenoiser(V))
    out = run(Sampler(guidance=1.0), 10, 0, denoiser=denoiser)
    assert len(denoiser.batches) == 2 * len(out.trace.steps)
    assert out.trace.nfe == [2 * len(out.trace.order(row)) for row in range(4)]
    assert out.trace.tokens_through == sum(ids.numel() for ids in denoiser.inputs)


def test_the_blind_forward_hides_what_was_given_and_nothing_else():
    denoiser = CountingDenoiser(RandomDenoiser(V))
    out = run(Sampler(guidance=1.0), 10, 0, denoiser=denoiser)
    given = left_pad(prompts(10), 0, "cpu")[1]
    given = torch.cat([given, torch.zeros(4, G, dtype=torch.bool)], 1) & (out.trace.start != 10)
    for step, seen, blind in zip(out.trace.steps, denoiser.inputs[::2], denoiser.inputs[1::2], strict=True):
        hidden = given[step.rows]
        assert (blind[hidden] == 10).all()
        assert torch.equal(blind[~hidden], seen[~hidden])


@pytest.mark.parametrize("w", [0.0, 0.5, 2.0])
def test_guided_logits_are_the_blend_of_equation_16(w):
    ids, given = torch.tensor([[1, 2, 10, 10]]), torch.tensor([[True, True, False, False]])
    denoise = RandomDenoiser(V)
    cond, un = denoise(ids), denoise(torch.full_like(ids, 10))
    expected = (1 + w) * cond - w * un
    torch.testing.assert_close(guided_logits(denoise, ids, None, given, w, 10), expected)


def test_guidance_never_proposes_a_token_that_both_forwards_rule_out():
    def denoise(ids, valid=None):
        logits = RandomDenoiser(V)(ids, valid)
        logits[..., 3] = -torch.inf
        return logits

    assert not (run(Sampler(guidance=1.0), 10, 0, batch=[[1, 2]], denoiser=denoise).ids == 3).any()


# ----------------------------------------------------------------------------------------------------------- end marks


@pytest.mark.parametrize(
    "commit",
    [
        *(Fixed(), Fixed(3), Threshold(0.2), Factor(2.0)),
        pytest.param(EntropyBound(1.0)),
    ],
    ids=str,
)
def test_with_eos_last_an_end_mark_is_committed_only_along_with_all_that_is_no_end_mark(commit):
    sampler, ends = Sampler(commit=commit, eos_last=True, block_length=4), 0
    for seed in range(6):
        # Two in five positions propose the end mark 0.
        def denoiser(ids, valid=None, seed=seed):
            logits = RandomDenoiser(V, seed)(ids, valid)
            logits[..., 0] += 2.5
            return logits

        out = run(sampler, 10, 0, batch=[[5, 1]], denoiser=denoiser)
        states = out.trace.states()
        for state, after, columns in zip(states, states[1:], out.trace.order(), strict=False):
            end = 2 + 4 * (1 + (min(columns) - 2) // 4)
            logits = denoiser(state[None])
            logits[..., 10] = -torch.inf
            proposal = logits.argmax(-1)[0]
            if (after[columns] == 0).any():
                ends += 1
                assert not ((proposal != 0) & (after == 10))[:end].any()
    assert ends > 3


@pytest.mark.parametrize("commit", [Fixed(), Fixed(3), Threshold(0.9), Factor(1.0), EntropyBound(0.1)], ids=str)
def test_a_row_that_wants_only_end_marks_does_not_hang(commit):
    def silent(ids, valid=None):
        return torch.tensor([5.0] + [0.0] * (V - 1)).repeat(*ids.shape, 1)

    out = run(Sampler(commit=commit, eos_last=True), 10, 0, batch=[[1, 2], [3]], denoiser=silent)
    assert out.answers == [[], []]
    assert (out.ids[:, 2:] == 0).all()
    assert max(out.trace.nfe) <= G


@pytest.mark.parametrize("block_length", [1, 2, 4, None])
def test_stopping_at_the_end_mark_keeps_the_text_before_it_and_saves_forwards(block_length):
    saved = 0
    for seed in range(6):
        samplers = [
            Sampler(block_length=block_length, stop_at_eos=stop, commit=Threshold(0.5)) for stop in (False, True)
        ]
        runs = [run(sampler, 10, 4, seed) for sampler in samplers]
        assert runs[0].answers == runs[1].answers
        assert not (runs[1].ids == 10).any()
        assert all(a >= b for a, b in zip(runs[0].trace.nfe, runs[1].trace.nfe, strict=True))
        saved += sum(runs[0].trace.nfe) - sum(runs[1].trace.nfe)
    assert saved > 0


def test_a_row_does_not_stop_before_the_masks_of_its_prompt_are_filled():
    def hasty(ids, valid=None):
        logits = torch.zeros(*ids.shape, V)
        logits[:, :4, 1] = 6.0  # the prompt: sure of token 1
        logits[:, 4:, 0] = 3.0  # the answer: end marks,
        logits[:, 4, 0] = 9.0  # the first of them before anything else
        return logits

    out = run(Sampler(stop_at_eos=True), 10, 0, batch=[[1, 10, 2, 10]], denoiser=hasty)
    assert out.trace.order() == [[4], [1], [3]]
    assert out.ids.tolist() == [[1, 1, 2, 1] + [0] * G]


def test_an_answer_ends_before_the_first_end_mark():
    x0 = torch.tensor([[1, 5, 6, 0, 7, 0], [2, 5, 6, 7, 8, 9], [3, 0, 0, 0, 0, 0]])
    out = sample(OracleDenoiser(x0, V, 10), x0[:, :1], gen_length=5, mask_id=10, eos_id=0)
    assert out.answers == [[5, 6], [5, 6, 7, 8, 9], []]
    assert torch.equal(out.ids, x0)


def test_forbidden_ids_are_never_proposed():
    for seed in SEEDS:
        forbid = (0, 3, 9)
        out = run(Sampler(forbid=forbid, commit=Threshold(0.3)), 10, 0, seed)
        tokens = torch.cat([step.tokens for step in out.trace.steps])
        assert not torch.isin(tokens, torch.tensor(forbid)).any()


# ----------------------------------------------------------------------------------------------------- batch and trace


def test_finished_rows_leave_the_batch_and_stop_counting():
    denoiser = CountingDenoiser(RandomDenoiser(V))
    out = sample(denoiser, [[1, 10, 2, 3], [10, 10, 10, 10], [1, 2, 3, 4]], gen_length=0, mask_id=10)
    assert denoiser.batches == [2, 1, 1, 1]
    assert out.trace.nfe == [1, 4, 0]


@every_sampler
def test_the_trace_counts_what_the_denoiser_was_asked(sampler):
    denoiser = CountingDenoiser(RandomDenoiser(V))
    out = run(sampler, 10, 0, denoiser=denoiser)
    assert sum(out.trace.nfe) == sum(denoiser.batches)
    assert out.trace.tokens_through == sum(ids.numel() for ids in denoiser.inputs)
    per_step = 2 if sampler.guidance else 1
    assert [len(step.rows) for step in out.trace.steps for _ in range(per_step)] == denoiser.batches


@pytest.mark.parametrize("sampler", [pytest.param(s, id=n) for n, s in (SAMPLERS | CHANCE).items() if n != "stop"])
def test_the_trace_replays_to_the_final_ids(sampler):
    for seed in SEEDS:
        out = run(sampler, 10, 0, seed)
        rebuilt = out.trace.start.clone()
        for step in json.loads(json.dumps(out.trace.table())):
            for (row, column), token in zip(step["at"], step["tokens"], strict=True):
                assert rebuilt[row, column] == 10  # what is committed stays
                rebuilt[row, column] = token
        assert torch.equal(rebuilt, out.ids)
        for row in range(4):
            states, order = out.trace.states(row), out.trace.order(row)
            assert torch.equal(states[-1], out.ids[row])
            assert sorted(sum(order, [])) == (out.trace.start[row] == 10).nonzero()[:, 0].tolist()
            changed = [(a != b).nonzero()[:, 0].tolist() for a, b in zip(states, states[1:], strict=False)]
            assert changed == order


def test_the_trace_of_a_stopped_row_replays_to_the_final_ids():
    out = run(SAMPLERS["stop"], 10, 0, batch=[[1, 2]], denoiser=RandomDenoiser(V, 1, levels=2))
    assert torch.equal(out.trace.states()[-1], out.ids[0])


def test_states_of_the_trace_are_what_the_denoiser_saw():
    denoiser = CountingDenoiser(RandomDenoiser(V))
    out = run(Sampler(commit=Threshold(0.3)), 10, 0, denoiser=denoiser)
    for row in range(4):
        asked = zip(denoiser.inputs, out.trace.steps, strict=True)
        seen = [ids[step.rows.tolist().index(row)] for ids, step in asked if row in step.rows]
        assert torch.equal(torch.stack(seen), torch.stack(out.trace.states(row)[:-1]))


def test_a_model_is_billed_for_its_forwards_and_for_logits_only_where_some_row_has_a_mask():
    config = LLaDAConfig(d_model=16, n_heads=2, n_layers=1, mlp_hidden_size=24, vocab_size=V, mask_token_id=10)
    model = LLaDAModelLM(config).eval()
    for guidance in (0.0, 1.0):
        out = sample(model, [[1, 2], [3]], gen_length=4, sampler=Sampler(guidance=guidance))
        columns = [
            int((torch.stack(states) == 10).any(0).sum())
            for states in zip(*map(out.trace.states, range(2)), strict=True)
        ]
        per_step = [2 * (1 + (guidance > 0)) * forward_flops(config, q=6, logits=n) for n in columns[:-1]]
        assert [step.flops for step in out.trace.steps] == per_step
        assert out.trace.seconds > 0


def test_prompts_may_be_a_tensor_or_empty_and_nothing_may_be_asked_for():
    nothing = sample(RandomDenoiser(V), torch.tensor([[1, 2], [3, 4]]), gen_length=0, mask_id=10)
    assert nothing.ids.tolist() == [[1, 2], [3, 4]] and nothing.answers == [[], []] and nothing.trace.nfe == [0, 0]
    out = sample(RandomDenoiser(V), [[], [1]], gen_length=3, mask_id=10)
    assert out.ids.shape == (2, 4) and not (out.ids[:, 1:] == 10).any()


def test_masks_inside_a_prompt_are_filled_in_the_first_block():
    out = run(Sampler(block_length=2), 10, 0, batch=[[1, 10, 2, 10]])
    columns = sum(out.trace.order(), [])
    assert sorted(columns[:4]) == [1, 3, 4, 5]


def test_padding_is_never_filled_when_the_mask_is_id_0():
    out = sample(RandomDenoiser(V), [[1], [2, 3, 4]], gen_length=2, mask_id=0)
    assert sorted(sum(out.trace.order(0), [])) == [3, 4]


def test_the_tensor_of_the_denoiser_is_left_alone():
    logits = torch.zeros(1, 5, V)
    sample(lambda ids, valid: logits, [[1, 2]], gen_length=3, mask_id=10)
    assert not logits.isinf().any()


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "options, message",
    [
        (
            dict(score="luck"),
            "score='luck' is unknown; known: probability, rounded, margin, neg_entropy, random, left_to_right",
        ),
        (dict(temperature=-0.5), "temperature=-0.5 .*>= 0"),
        (dict(guidance=-2.0), "guidance=-2.0 .*>= 0"),
        (dict(block_length=0), "block_length=0 .*>= 1 or None"),
    ],
)
def test_a_wrong_sampler_is_refused_with_the_value_and_what_is_allowed(options, message):
    with pytest.raises(ValueError, match=message):
        Sampler(**options)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(prompts=[]), r"at least one prompt, got prompts=\[\]"),
        (dict(gen_length=-1), "gen_length=-1 .*>= 0"),
        (dict(mask_id=None), "mask_id is needed: the model has no config.mask_token_id"),
        (dict(sampler=Sampler(temperature=1.0)), "needs generator=torch.Generator"),
        (dict(sampler=Sampler(score="random")), "needs generator=torch.Generator"),
        (dict(sampler=Sampler(commit=Fixed(3), block_length=2)), "steps=3 is less than the 4 blocks"),
        (dict(model=ModelOf(UniformDenoiser(V), 10, attention="causal")), "causal .* dlmlab.autoregressive.sample"),
    ]
    + [
        pytest.param(dict(sampler=Sampler(**{option: True})), "eos_id")
        for option, does in (("stop_at_eos", "is an AttributeError"), ("eos_last", "is silently ignored"))
    ],
)
def test_a_wrong_call_is_refused_with_the_value_and_what_is_allowed(options, message):
    call = dict(model=UniformDenoiser(V), prompts=[[1]], gen_length=G, mask_id=10) | options
    with pytest.raises(ValueError, match=message):
        sample(call.pop("model"), call.pop("prompts"), **call)


def test_the_special_ids_come_from_the_config_unless_given():
    model = ModelOf(RandomDenoiser(V), mask_id=10, eos_id=4)
    batch = [[1], [2, 3]]
    assert torch.equal(sample(model, batch, gen_length=G).ids, run(Sampler(), 10, 4, batch=batch).ids)
    assert (sample(model, batch, gen_length=G, mask_id=7).trace.start[:, 2:] == 7).all()


# ------------------------------------------------------------------------------------------------- rules of your own


@dataclass(frozen=True)
class FromTheRight(Commit):
    """The rightmost `quota` places; `sizes`: how much is due at each forward."""

    sizes: tuple[int, ...]

    def plan(self, masks, block=0, blocks=1):
        return torch.tensor(self.sizes).expand(len(masks), -1)

    def __call__(self, c):
        from_the_right = c.eligible.flip(1).cumsum(1).flip(1)
        return c.eligible & (from_the_right <= c.quota[:, None])


def test_a_rule_of_ones_own_runs_the_forwards_it_plans():
    """Issue of old: a rule that is not `Fixed` ran one forward a token, whatever its steps."""
    rule = FromTheRight((1, 0, 4, 3))
    out = run(Sampler(commit=rule), 10, 0, batch=[[1, 2], [3]])
    assert out.trace.nfe == [4, 4] and not (out.ids == 10).any()
    assert out.trace.order() == [[9], [], [5, 6, 7, 8], [2, 3, 4]]
    late = run(Sampler(commit=FromTheRight((0,) * 8 + (8,))), 10, 0, batch=[[1, 2]])  # more forwards than masks
    assert late.trace.nfe == [9] and not (late.ids == 10).any()


def test_a_plan_says_how_often_each_block_is_read():
    out = run(Sampler(commit=FromTheRight((2, 2)), block_length=4), 10, 0, batch=[[1, 2]])
    assert out.trace.order() == [[4, 5], [2, 3], [8, 9], [6, 7]]


@pytest.mark.parametrize("sizes", [(7,), (9, -1), ()])
def test_a_plan_that_leaves_masks_is_refused(sizes):
    with pytest.raises(ValueError, match=r"FromTheRight.* for \[8\] masks"):
        run(Sampler(commit=FromTheRight(sizes)), 10, 0, batch=[[1, 2]])


@dataclass(frozen=True)
class Never(FromTheRight):
    """A rule that breaks its word: it plans, if it has sizes, and takes nothing."""

    sizes: tuple[int, ...] = ()

    def plan(self, masks, block=0, blocks=1):
        return super().plan(masks, block, blocks) if self.sizes else None

    def __call__(self, c):
        return c.eligible & ~c.eligible


@pytest.mark.parametrize("sizes", [(), (4, 4)])
def test_a_rule_that_leaves_masks_in_the_text_is_refused(sizes):
    with pytest.raises(ValueError, match=r"commit=Never.* left 8 masks"):
        run(Sampler(commit=Never(sizes)), 10, 0, batch=[[1, 2]])


def test_what_is_no_commit_rule_is_refused():
    with pytest.raises(ValueError, match="is no commit rule"):
        Sampler(commit=lambda c: c.eligible)


# ------------------------------------------------------------------------------------------------ aligned blocks


def test_aligned_blocks_end_where_those_of_the_attention_do():
    real = torch.tensor([5, 8, 1])  # prompts of a batch padded to 8, blocks of 4, answers of 6
    ends = block_ends(real, 8, 6, Sampler(block_length=4, aligned=True))
    # counted from the first token they end at 8 and 11, 12 and 14, 4 and 7; padding moves them by 3, 0 and 7 columns
    assert torch.stack(ends, 1).tolist() == [[11, 14], [12, 14], [11, 14]]
    plain = block_ends(real, 8, 6, Sampler(block_length=4))
    assert torch.stack(plain, 1).tolist() == [[12, 14]] * 3
    assert torch.stack(block_ends(real, 8, 0, Sampler()), 1).tolist() == [[8]] * 3


@pytest.mark.parametrize("P", range(1, 10))
def test_an_aligned_sampler_never_writes_over_a_border_before_it_is_reached(P):
    """Every token of a block is committed before the first of the next, blocks counted from the first token."""
    model = tiny_model("block:4", mask_token_id=3, eos_token_id=0, max_sequence_length=64)
    prompts = [list(range(5, 5 + P)), [7, 8], [9] * 6]
    sampler = Sampler(commit=Threshold(0.2), block_length=4, aligned=True)
    out = sample(model, prompts, gen_length=9, sampler=sampler)
    for row, prompt in enumerate(prompts):
        pad, last = out.prompt_length - len(prompt), -1
        for step in out.trace.steps:
            blocks = [(int(c) - pad) // 4 for r, c in step.at.tolist() if r == row]
            assert not blocks or (len(set(blocks)) == 1 and blocks[0] >= last)
            last = max([last, *blocks])
        alone = sample(model, [prompt], gen_length=9, sampler=sampler)
        assert alone.answers[0] == out.answers[row] and alone.trace.nfe[0] == out.trace.nfe[row]


def test_aligned_blocks_and_the_cache_of_finished_ones_give_the_same_text():
    model = tiny_model("block:4", mask_token_id=3, eos_token_id=0, max_sequence_length=64)
    prompts = [[1, 7, 9, 20, 11], [1, 8], [1, 30, 12], [1, 9, 9, 9, 9, 9, 14]]
    for edit in (None, Replace(0.3, extra=3)):
        kinds = [
            Sampler(commit=Threshold(0.2), block_length=4, aligned=True, cache=cache, edit=edit)
            for cache in (None, BlockCache())
        ]
        plain, cached = (sample(model, prompts, gen_length=14, sampler=sampler) for sampler in kinds)
        assert torch.equal(plain.ids, cached.ids) and plain.trace.nfe == cached.trace.nfe
        assert cached.trace.tokens_through < plain.trace.tokens_through


def test_aligned_blocks_need_a_length():
    with pytest.raises(ValueError, match="aligned=True needs block_length"):
        Sampler(aligned=True)
