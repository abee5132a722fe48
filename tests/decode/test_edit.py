"""What an edit rule may do, and how often: the bound holds for models that change their mind at every forward."""

import pytest
import torch

from dlmlab.decode.cache import DualCache
from dlmlab.decode.commit import EntropyBound, Factor, Fixed, Threshold
from dlmlab.decode.edit import Edit, Remask, Replace
from dlmlab.decode.sampling import Sampler, sample
from tests.mocks import CountingDenoiser, OracleDenoiser, RandomDenoiser

V, G, MASK, EOS = 11, 8, 10, 0
PROMPTS = [[4, 3, 1, 0], [5], [2, MASK, 4, MASK, MASK, 1]]
RULES = [Fixed(), Fixed(5), Threshold(0.5), Factor(1.5), EntropyBound(1.0)]
EDITS = [Replace(0.0, 3), Replace(0.6), Remask(0.9, 5), Remask(1.0, 1)]
both = pytest.mark.parametrize("block_length", [None, 3])
every_edit = pytest.mark.parametrize("edit", EDITS, ids=str)


class Both(Edit):
    """Replaces and masks again whatever it is shown, also what it must not touch."""

    def __call__(self, written):
        everything = torch.ones_like(written.editable)
        return everything & (written.x0 % 2 == 0), everything


class Restless:
    """Wants another token at every forward, with near certainty, and never the one that stands there."""

    def __init__(self):
        self.n = 0

    def __call__(self, ids, valid=None):
        self.n += 1
        wanted = (ids + self.n % 2 + 1) % MASK  # never the token that stands there, nor the mask
        return 30.0 * torch.nn.functional.one_hot(wanted, V).float()


def run(sampler, denoiser, batch=PROMPTS):
    return sample(denoiser, batch, gen_length=G, sampler=sampler, mask_id=MASK, eos_id=EOS)


# ------------------------------------------------------------------------------------------------------------ bounds


@pytest.mark.parametrize("edit", [*EDITS, Both(extra=7)], ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
@both
def test_a_block_takes_at_most_the_stated_forwards_more(rule, edit, block_length):
    """Also when a model changes its mind at every forward; and no mask is left."""
    sampler = Sampler(commit=rule, block_length=block_length, edit=edit)
    blocks = 1 if block_length is None else 3
    for denoiser in (Restless(), RandomDenoiser(V), RandomDenoiser(V, 1)):
        out = run(sampler, denoiser)
        assert not (out.ids == MASK).any()
        given = out.trace.start != MASK
        assert torch.equal(out.ids[given], out.trace.start[given])
        masks = (out.trace.start == MASK).sum(1).tolist()
        steps = [min(m, getattr(rule, "steps", None) or m) for m in masks]
        assert all(n <= s + blocks * edit.extra for n, s in zip(out.trace.nfe, steps, strict=True))


def test_a_restless_model_uses_the_whole_bound_and_no_more():
    """One forward commits everything, then every further one replaces everything."""
    out = run(Sampler(commit=Threshold(0.5), edit=Replace(0.9, extra=6)), Restless(), [[1, 2]])
    assert out.trace.nfe == [1 + 6] and sum(len(step.edited) for step in out.trace.steps) == 6 * G
    out = run(Sampler(commit=Threshold(0.5), edit=Remask(0.1, extra=6)), Restless(), [[1, 2]])
    masked_again = sum(int((step.edited_to == MASK).sum()) for step in out.trace.steps)
    full = sum(bool((state[2:] != MASK).all()) for state in out.trace.states()[:-1])
    assert masked_again + full == 6


def test_a_contented_model_is_read_once_more():
    text = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]])
    for edit in (Replace(0.9), Remask(0.1)):
        out = run(Sampler(commit=Threshold(0.5), edit=edit), OracleDenoiser(text, V, MASK), [[1, 2]])
        assert out.trace.nfe == [2] and out.ids.tolist() == text.tolist()
        assert not any(len(step.edited) for step in out.trace.steps)


def test_nothing_to_write_is_nothing_to_edit():
    out = sample(Restless(), [[1, 2]], gen_length=0, sampler=Sampler(edit=Replace()), mask_id=MASK, eos_id=EOS)
    assert out.ids.tolist() == [[1, 2]] and not out.trace.steps


# --------------------------------------------------------------------------------------------- what is written when


def literal(denoiser, prompt, *, tau_mask, tau_edit, extra, block):
    """LLaDA2.1's loop for one text, step by step: commit above one threshold, replace above the other."""
    P = len(prompt)
    x, forwards = [*prompt, *[MASK] * G], 0
    for start in range(P, P + G, block):
        columns, post = range(start, min(start + block, P + G)), 0
        while True:
            active = [i for i in columns if x[i] == MASK]
            post += not active
            if post > extra:
                break
            logits = denoiser(torch.tensor([x]))[0]
            logits[:, MASK] = -torch.inf
            p, v = logits.softmax(-1).max(-1)
            forwards += 1
            sure = [i for i in active if p[i] > tau_mask] or sorted(active, key=lambda i: -float(p[i]))[:1]
            edits = [i for i in columns if x[i] != MASK and p[i] > tau_edit and int(v[i]) != x[i]]
            for i in sure + edits:
                x[i] = int(v[i])
            if not active and not edits:
                break
    return x, forwards


@pytest.mark.parametrize("tau_mask, tau_edit, extra", [(0.5, 0.5, 16), (0.3, 0.0, 4), (0.8, 0.4, 2), (0.5, 1.0, 3)])
@pytest.mark.parametrize("block", [3, 8])
def test_token_editing_equals_the_published_loop(tau_mask, tau_edit, extra, block):
    edited = 0
    for seed in range(4):
        sampler = Sampler(
            commit=Threshold(tau_mask, strict=True), block_length=block, edit=Replace(tau_edit, extra=extra)
        )
        out = run(sampler, RandomDenoiser(V, seed), [[4, 3, 1]])
        options = dict(tau_mask=tau_mask, tau_edit=tau_edit, extra=extra, block=block)
        x, forwards = literal(RandomDenoiser(V, seed), [4, 3, 1], **options)
        assert (out.ids[0].tolist(), out.trace.nfe[0]) == (x, forwards)
        edited += sum(len(step.edited) for step in out.trace.steps)
    assert (edited > 0) == (tau_edit < 1)


def test_the_least_probable_tokens_are_masked_again_first():
    """Three are below the threshold, one forward is left to spend: the worst of them goes."""

    def doubtful(ids, valid=None):
        logits = 9.0 * torch.nn.functional.one_hot(torch.full_like(ids, 7), V).float()
        seven = (ids == 7)[..., None] & (torch.arange(V) == 7)
        doubt = torch.zeros(ids.shape[1])
        doubt[[3, 5, 6]] = torch.tensor([6.0, 8.0, 7.0])
        return logits - seven * doubt[:, None]

    out = run(Sampler(commit=Threshold(0.5), edit=Remask(0.9, extra=2)), doubtful, [[1]])
    edits = [step.edited[:, 1].tolist() for step in out.trace.steps if len(step.edited)]
    assert edits == [[5]] and out.trace.nfe == [3]


@every_edit
def test_the_trace_replays_the_edits(edit):
    out = run(Sampler(commit=Factor(1.5), block_length=3, edit=edit), RandomDenoiser(V, 2))
    assert any(len(step.edited) for step in out.trace.steps)
    for row in range(len(PROMPTS)):
        assert torch.equal(out.trace.states(row)[-1], out.ids[row])
    for step in out.trace.steps:
        assert not {*map(tuple, step.edited.tolist())} & {*map(tuple, step.at.tolist())}


@every_edit
def test_every_forward_reads_what_the_trace_says(edit):
    counting = CountingDenoiser(RandomDenoiser(V, 3))
    out = run(Sampler(commit=Fixed(3), block_length=3, edit=edit), counting, [[5, 4]])
    assert [ids[0].tolist() for ids in counting.inputs] == [s.tolist() for s in out.trace.states()[:-1]]


@every_edit
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_row_is_edited_as_if_it_were_alone(rule, edit):
    sampler = Sampler(commit=rule, block_length=4, edit=edit)
    together = run(sampler, RandomDenoiser(V, 5))
    for i, prompt in enumerate(PROMPTS):
        alone = run(sampler, RandomDenoiser(V, 5), [prompt])
        assert together.ids[i, together.prompt_length - len(prompt) :].tolist() == alone.ids[0].tolist()
        assert together.trace.nfe[i] == alone.trace.nfe[0]


def test_a_rule_that_never_edits_costs_one_forward_a_block_and_changes_nothing():
    for rule in RULES:
        sampler, plain = (Sampler(commit=rule, block_length=4, edit=e) for e in (Replace(1.0), None))
        with_rule, without = (run(s, RandomDenoiser(V, 1)) for s in (sampler, plain))
        assert torch.equal(with_rule.ids, without.ids)
        assert [n + 2 for n in without.trace.nfe] == with_rule.trace.nfe


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "options", [dict(cache=DualCache()), dict(guidance=1.0), dict(stop_at_eos=True), dict(cache=DualCache(refresh=1))]
)
def test_what_an_edit_does_not_go_with_is_refused(options):
    with pytest.raises(ValueError, match="edit=Replace"):
        Sampler(edit=Replace(), **options)


@pytest.mark.parametrize("edit", [Replace, 0.9, lambda written: None])
def test_what_is_no_edit_rule_is_refused(edit):
    with pytest.raises(ValueError, match="is no edit rule"):
        Sampler(edit=edit)


@pytest.mark.parametrize("options", [dict(tau=1.5), dict(tau=-0.1), dict(extra=0), dict(extra=2.5)])
def test_a_bound_that_means_nothing_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Replace(**options)
