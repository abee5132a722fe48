"""Rules that give tokens up for masks: what they choose, that the schedule stays, and that noise levels do."""

import pytest
import torch

from dlmlab.decode import revise
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.edit import Exchange, Written
from dlmlab.decode.revise import P2, ReMDM
from dlmlab.decode.sampling import Sampler, sample
from tests.mocks import CountingDenoiser, RandomDenoiser

V, G, MASK, EOS = 11, 8, 10, 0
PROMPTS = [[4, 3, 1, 0], [5], [2, MASK, 4, MASK, MASK, 1]]


class Everything(Exchange):
    """Gives up whatever it may."""

    def __call__(self, written):
        everything = torch.ones_like(written.editable)
        return everything, everything


EDITS = [P2(0.0), P2(0.5), P2(3.0), ReMDM(0.5), ReMDM(1.0), ReMDM(1.0, "stored"), Everything()]
every_edit = pytest.mark.parametrize("edit", EDITS, ids=str)


def run(edit, denoiser=None, batch=PROMPTS, steps=4, seed=0, **options):
    sampler = Sampler(commit=Fixed(steps), edit=edit, **options)
    g = torch.Generator().manual_seed(seed)
    denoiser = RandomDenoiser(V, 1) if denoiser is None else denoiser
    return sample(denoiser, batch, gen_length=G, sampler=sampler, mask_id=MASK, eos_id=EOS, generator=g)


@every_edit
@pytest.mark.parametrize("steps", [1, 3, 8])
@pytest.mark.parametrize("score", ["probability", "left_to_right"])
def test_the_schedule_stays(edit, steps, score):
    """As many tokens stand after each forward as in a plain run, so no forward is added, and no mask is left."""
    out, plain = run(edit, steps=steps, score=score), run(None, steps=steps, score=score)
    assert out.trace.nfe == plain.trace.nfe and not (out.ids == MASK).any()
    for row in range(len(PROMPTS)):
        counts = [[int((state == MASK).sum()) for state in s.trace.states(row)] for s in (out, plain)]
        assert counts[0] == counts[1]
    given = out.trace.start != MASK
    assert torch.equal(out.ids[given], out.trace.start[given])
    assert isinstance(edit, P2) or steps == 1 or any(len(step.edited) for step in out.trace.steps)


@every_edit
def test_blocks_are_exchanged_one_after_the_other(edit):
    out = run(edit, steps=6, block_length=4)
    assert out.trace.nfe == run(None, steps=6, block_length=4).trace.nfe and not (out.ids == MASK).any()
    for step in out.trace.steps:
        assert not {*map(tuple, step.edited.tolist())} & {*map(tuple, step.at.tolist())}


def test_a_token_that_counts_for_more_than_any_mask_is_never_given_up():
    """eta above 1 / the least probability that occurs: the plain schedule."""
    out, plain = run(P2(1e6)), run(None)
    assert torch.equal(out.ids, plain.ids) and not any(len(step.edited) for step in out.trace.steps)
    assert torch.equal(run(ReMDM(0.0)).ids, plain.ids)


def literal_p2(denoiser, prompt, steps, eta):
    """P2 with self-planning for one text, place by place: the independent re-derivation."""
    P, x = len(prompt), [*prompt, *[MASK] * G]
    places = [i for i, t in enumerate(x) if t == MASK]
    base, rest = divmod(len(places), steps)
    stands = 0
    for step in range(steps):
        stands += base + (step < rest)
        logits = denoiser(torch.tensor([x]))[0]
        logits[:, MASK] = -torch.inf
        p = logits.softmax(-1)
        score = {i: float(p[i].max()) if x[i] == MASK else eta * float(p[i, x[i]]) for i in places}
        keep = sorted(places, key=lambda i: (-score[i], i))[:stands]
        x = [(t if i not in places else (MASK if i not in keep else (int(p[i].argmax()) if t == MASK else t)))
             for i, t in enumerate(x)]  # fmt: skip
    assert P + G == len(x)
    return x


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("steps", [2, 3, 5, 8])
def test_p2_in_the_loop_equals_p2_place_by_place(eta, steps):
    edited = 0
    for seed in range(4):
        out = run(P2(eta), RandomDenoiser(V, seed), [[2, MASK, 4]], steps)
        assert out.ids[0].tolist() == literal_p2(RandomDenoiser(V, seed), [2, MASK, 4], steps, eta)
        edited += sum(len(step.edited) for step in out.trace.steps)
    assert edited or eta == 2.0 or steps == 2  # in two forwards nothing is left over to be written instead


@every_edit
def test_every_forward_reads_what_the_trace_says(edit):
    counting = CountingDenoiser(RandomDenoiser(V, 3))
    out = run(edit, counting, [[5, 4]])
    assert [ids[0].tolist() for ids in counting.inputs] == [s.tolist() for s in out.trace.states()[:-1]]


@pytest.mark.parametrize("edit", [P2(0.5), Everything()], ids=str)
def test_a_row_is_exchanged_as_if_it_were_alone(edit):
    together = run(edit)
    for i, prompt in enumerate(PROMPTS):
        alone = run(edit, batch=[prompt])
        assert together.ids[i, together.prompt_length - len(prompt) :].tolist() == alone.ids[0].tolist()


def test_chance_comes_from_the_generator():
    first, again, other = (run(ReMDM(0.7), seed=s) for s in (0, 0, 1))
    assert torch.equal(first.ids, again.ids) and not torch.equal(first.ids, other.ids)
    with pytest.raises(ValueError, match="generator"):
        sample(RandomDenoiser(V), [[1]], gen_length=G, sampler=Sampler(edit=ReMDM()), mask_id=MASK, eos_id=EOS)


# ------------------------------------------------------------------------------------------------- ReMDM's posterior


def test_the_golden_values_of_the_posterior():
    a, s = torch.tensor(0.4, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    for sigma, wanted in ((0.1, 0.233333), (0.0, 0.166667), (1.0, 0.833333), (0.008, 0.172), (0.015, 0.1766667)):
        write, keep = revise.remasking_posterior(a, s, torch.tensor(sigma, dtype=torch.float64))
        assert abs(float(write) - wanted) < 1e-6 and abs(float(keep) - (1 - sigma)) < 1e-12
    assert float(revise.largest_sigma(a, s)) == 1.0  # min(1, .5 / .4)
    assert float(revise.largest_sigma(torch.tensor(0.0), s)) == 1.0


def test_every_sigma_keeps_the_noise_level():
    g = torch.Generator().manual_seed(0)
    a = 0.98 * torch.rand(200, generator=g, dtype=torch.float64)
    s = a + (1 - a) * torch.rand(200, generator=g, dtype=torch.float64)
    sigma = revise.largest_sigma(a, s) * torch.rand(200, generator=g, dtype=torch.float64)
    write, keep = revise.remasking_posterior(a, s, sigma)
    assert bool(((write >= 0) & (write <= 1 + 1e-12)).all())
    assert torch.allclose(a * keep + (1 - a) * write, s)
    with pytest.raises(ValueError, match="sigma"):
        revise.remasking_posterior(a, s, revise.largest_sigma(a, s) + 0.1)


def written(editable, masked, due, stored=None):
    R, C = editable.shape
    half = torch.full((R, C), 0.5)
    stored = half if stored is None else stored
    ids = torch.zeros(R, C, dtype=torch.long)
    g = torch.Generator().manual_seed(0)
    return Written(ids, editable, half, ids, half, masked, stored, torch.full((R,), due), g)


def test_as_many_are_masked_again_as_sigma_says():
    """20 of 40 places written, 4 due: sigma_max = 16 / 20, eta half of it; 4000 rows, three standard errors."""
    editable = (torch.arange(40) < 20).expand(4000, 40)
    _, again = ReMDM(0.5)(written(editable, ~editable, 4))
    share = float(again.sum(1).double().mean()) / 20
    assert abs(share - 0.5 * 16 / 20) < 3 * (0.4 * 0.6 / 80_000) ** 0.5
    assert int(ReMDM(1.0)(written(editable, ~editable, 4))[1].sum(1).max()) == 16


def test_by_stored_confidence_one_token_is_masked_again_and_rather_an_unsure_one():
    editable = (torch.arange(40) < 20).expand(4000, 40)
    stored = (torch.arange(40) % 2).double().expand(4000, 40)
    _, again = ReMDM(1.0, "stored")(written(editable, ~editable, 4, stored))
    assert abs(float(again.sum(1).double().mean()) - 0.8) < 0.05  # sigma_max
    unsure, sure = ((again[:, :20] & (stored[:, :20] == v)).sum() for v in (0, 1))
    assert abs(float(unsure / sure) - 2.71828) < 0.4  # e^-0 against e^-1


def test_nothing_written_is_no_division_by_zero():
    nothing = torch.zeros(2, 6, dtype=torch.bool)
    for by in ("random", "stored"):
        assert not ReMDM(1.0, by)(written(nothing, ~nothing, 2))[1].any()


# ---------------------------------------------------------------------------------------------------------- refusals


def test_an_exchange_needs_a_plan():
    with pytest.raises(ValueError, match="has none"):
        sample(RandomDenoiser(V), [[1]], gen_length=G, sampler=Sampler(commit=Threshold(0.5), edit=P2()), mask_id=MASK)


@pytest.mark.parametrize(
    "make, options", [(P2, dict(eta=-0.1)), (ReMDM, dict(eta=1.5)), (ReMDM, dict(by="age")), (P2, dict(eta="x"))]
)
def test_a_rule_that_means_nothing_is_refused(make, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        make(**options)
