"""Calibration sets and token weights: whose texts, which states, and what a weight does to the statistics."""

import pytest
import torch

from dlmlab.attention import sinks
from dlmlab.compress import calibration, pruning
from dlmlab.compress.calibration import calibration_set, token_weights
from dlmlab.compress.pruning import Recipe
from dlmlab.task import tasks
from dlmlab.task.layout import encode_rows
from tests.compress.cases import PROBLEMS, TOKENIZER, reader, seeded, states, weights_of
from tests.tiny import foreign_tokenizer, one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = encode_rows(TOKENIZER, PROBLEMS, side="right")


def test_only_the_calibration_split_is_allowed():
    with pytest.raises(ValueError, match="split 'test'"):
        calibration.calibration_problems(4, split="test")
    for split in ("test", "validation"):
        with pytest.raises(ValueError, match=f"got one of '{split}'"):
            calibration_set(TOKENIZER, [*PROBLEMS, tasks.load_split(split)[0]], "clean")


def test_another_tokenizer_gets_a_window_that_holds_its_solutions():
    foreign = foreign_tokenizer()
    found = calibration_set(foreign, PROBLEMS, "t:1.0", region="answer", generator=seeded())
    answers = [ids[hidden] for ids, hidden in zip(found.ids, found.masked, strict=True)]
    assert {len(answer) for answer in answers} == {max(len(foreign(p.solution)["input_ids"]) for p in PROBLEMS) + 1}


def test_another_seed_draws_other_problems_and_none_twice():
    first, second = (calibration.calibration_problems(50, seed=s) for s in (0, 1))
    assert len({p.skeleton for p in first}) == 50 and first != second
    with pytest.raises(ValueError, match="holds 1..512"):
        calibration.calibration_problems(513)


# ------------------------------------------------------------------------------------------------ states


def test_the_modes_mask_what_they_say():
    assert not states("clean").masked.any()
    grid = states("grid")
    assert len(grid) == 60 and grid.t.unique().tolist() == pytest.approx(calibration.GRID)
    assert bool((grid.masked == grid.real)[-6:].all())  # at level 1 everything is hidden
    assert grid.text.bincount().tolist() == [10] * 6
    prefix = states("prefix")
    quarter = (prefix.real.sum(1) // 4).tolist()
    assert not any(row[:n].any() for row, n in zip(prefix.masked, quarter, strict=True))
    for mode in ("t:0.5", "uniform", "grid", "prefix"):
        answer = ROWS.answer
        part = states(mode, region="answer")
        assert not (part.masked & ~answer[part.text]).any() and part.masked.any()


@pytest.mark.parametrize("region", ["all", "answer"])
def test_a_prefix_is_the_first_quarter_of_what_may_be_masked_and_no_more(region):
    """Over many draws everything behind the first quarter is hidden some time, and nothing in it ever."""
    real, answer = ROWS.valid, ROWS.answer
    hidden = torch.zeros_like(real)
    for seed in range(60):
        hidden |= calibration_set(TOKENIZER, PROBLEMS, "prefix", region=region, generator=seeded(seed)).masked
    for row, maskable in zip(hidden, real if region == "all" else answer, strict=True):
        visible = len(row[maskable]) // 4
        assert row[maskable].tolist() == [False] * visible + [True] * (int(maskable.sum()) - visible)
        assert not row[~maskable].any()


TEXTS = ["ben has 8 marbles .", "cara has 2 .", "8 * 2 = 16 ; #### 16"]


@pytest.mark.parametrize("mode", calibration.MODES)
def test_any_texts_make_states(mode):
    calib = calibration.text_set(TOKENIZER, TEXTS, mode, generator=seeded())
    clean = [TOKENIZER(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    assert len(calib) == len(TEXTS) * (10 if mode == "grid" else 1)
    for ids, real, hidden, text in zip(calib.ids, calib.real, calib.masked, calib.text.tolist(), strict=True):
        assert int(real.sum()) == len(clean[text]) and bool(real[: len(clean[text])].all())
        seen = real & ~hidden
        assert ids[seen].tolist() == [t for t, ok in zip(clean[text], seen.tolist(), strict=False) if ok]
    assert calib.masked.any() == (mode != "clean")


def test_problems_make_the_states_of_their_ids():
    """The split is checked for problems; what follows is the same code for all texts."""
    ids, real, answer = ROWS.x0, ROWS.valid, ROWS.answer
    ours = calibration.token_set(
        ids, "grid", mask_id=TOKENIZER.mask_token_id, real=real, maskable=answer, generator=seeded()
    )
    theirs = states("grid", region="answer")
    assert torch.equal(ours.ids, theirs.ids) and torch.equal(ours.real, theirs.real) and torch.equal(ours.t, theirs.t)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: calibration_set(TOKENIZER, []), "got one of 'nothing'"),
        (lambda: calibration.text_set(TOKENIZER, []), "0 texts"),
        (lambda: calibration.text_set(TOKENIZER, ["ben", ""]), "1 hold no token"),
        (lambda: calibration.token_set(torch.ones(3), mask_id=0), "one shape"),
        (lambda: calibration.token_set(torch.ones(2, 3), mask_id=0, real=torch.ones(2, 2) > 0), "one shape"),
        (lambda: calibration.token_set(torch.ones(1, 2), mask_id=0, real=torch.arange(2)[None] > 0), "on the left"),
        (lambda: calibration.token_set(torch.ones(1, 3), mask_id=0, real=torch.arange(3)[None] != 1), "on the left"),
        (lambda: calibration.token_set(torch.ones(1, 2), mask_id=0, real=torch.zeros(1, 2) > 0), "on the left"),
        (lambda: calibration.token_set(torch.ones(1, 2), mask_id=0), "generator="),
    ],
)
def test_texts_that_are_none_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_the_same_seed_makes_the_same_states():
    assert torch.equal(states("uniform").ids, states("uniform").ids)


def test_a_trajectory_set_holds_the_inputs_of_real_runs():
    small = reader()
    calib = calibration.trajectory_set(small, TOKENIZER, PROBLEMS, tau=0.5, states=3)
    ids, answer = ROWS.x0, ROWS.answer
    assert calib.text.bincount().tolist() == [3] * 6
    assert bool((calib.ids[::3][answer] == TOKENIZER.mask_token_id).all())  # a run starts with an empty answer
    assert bool((calib.ids == ids[calib.text])[~answer[calib.text]].all())  # the question is never changed
    assert bool((calib.t > 0).all()) and calib.masked.any(1).all()


@pytest.mark.parametrize("mode, text", [("noise", "is unknown"), ("t:1.5", "is unknown"), ("t:x", "is unknown")])
def test_an_unknown_mode_is_refused(mode, text):
    with pytest.raises(ValueError, match=text):
        states(mode)


def test_a_random_mode_needs_a_generator_and_a_region_must_exist():
    with pytest.raises(ValueError, match="generator="):
        calibration_set(TOKENIZER, PROBLEMS, "uniform")
    with pytest.raises(ValueError, match="known: all, answer"):
        states("uniform", region="question")


def test_the_weights_are_what_their_names_say():
    calib = states("grid")
    phi = torch.rand(calib.ids.shape, generator=seeded()) * calib.real
    sink, inverted, preserve = (token_weights(k, calib, phi=phi, lam=2.0) for k in ("sink", "inverted", "preserve"))
    real = calib.real.float()
    assert (
        torch.equal(sink, (1 - phi) * real)
        and torch.equal(inverted, phi)
        and torch.equal(preserve, (1 + 2 * phi) * real)
    )
    of = {"sink": sink, "inverted": inverted, "preserve": preserve}
    for control, kind in calibration.SHUFFLED.items():
        dealt, weights = token_weights(control, calib, phi=phi, lam=2.0, generator=seeded()), of[kind]
        assert torch.allclose(dealt.sort(1).values, weights.sort(1).values) and not torch.equal(dealt, weights)
    for kind in calibration.KINDS:
        weights = token_weights(kind, calib, phi=phi, generator=seeded())
        assert not (weights * ~calib.real).any()
    for kind, text in (("sink", "needs phi"), ("nothing", "is unknown")):
        with pytest.raises(ValueError, match=text):
            token_weights(kind, calib)
    for kind in calibration.SHUFFLED | calibration.ALIKE:
        with pytest.raises(ValueError, match=f"'{kind}' needs generator="):
            token_weights(kind, calib, phi=phi)


def test_a_control_among_tokens_alike_leaves_masks_and_visible_tokens_their_weight():
    calib = states("grid")
    phi = torch.rand(calib.ids.shape, generator=seeded()) * calib.real
    for control, kind in calibration.ALIKE.items():
        dealt, weights = (token_weights(k, calib, phi=phi, generator=seeded()) for k in (control, kind))
        assert not torch.equal(dealt, weights)
        for at in (calib.masked, calib.real & ~calib.masked):
            assert torch.equal((dealt * at).sort(1).values, (weights * at).sort(1).values)


def test_each_head_judges_on_its_own_and_its_scores_are_averaged():
    """Of one layer and one head both ways to score are the same; of several, the mean of their single scores."""
    calib, small = states("clean"), reader()
    found = calibration.sink_scores(small, calib, each_head=True)
    sums = sinks.received(small, calib.ids, calib.real)  # (layers, B, H, L)
    n = int(calib.real[0].sum())
    single = [sinks.soft_sink_score(row[:n], normalise="none") for layer in sums[:, 0] for row in layer]
    assert torch.allclose(found[0, :n], torch.stack(single).mean(0), atol=1e-6)
    assert not (found * ~calib.real).any()
    assert not torch.allclose(found, calibration.sink_scores(small, calib), atol=1e-3)


def test_sink_scores_do_not_see_padding_and_find_a_planted_sink():
    calib, small = states("clean"), reader()
    with torch.no_grad():  # every query and the key of the start mark point the same way
        for block in small.model.transformer["blocks"]:
            block.q_proj.weight.zero_()
    uniform = calibration.sink_scores(small, calib)
    assert torch.allclose(uniform[calib.real], torch.full((int(calib.real.sum()),), 0.5), atol=1e-3)
    assert not (uniform * ~calib.real).any()
    counted = calibration.sink_scores(small, calib, normalise="zscore")
    assert bool((counted < 1e-4).all())


def test_the_mean_over_levels_is_one_score_a_text():
    calib = states("grid")
    phi = torch.rand(calib.ids.shape, generator=seeded())
    mean = calibration.mean_over_levels(phi, calib)
    for text in range(6):
        mine = calib.text == text
        assert torch.allclose(mean[mine], phi[mine].mean(0).expand(10, -1))


def test_without_sinks_the_sink_aware_criterion_is_wanda_bit_for_bit():
    calib, small = states("clean"), reader()
    weights = token_weights("sink", calib, phi=torch.zeros(calib.ids.shape))
    plain, sink = (pruning.prune(small, Recipe("wanda", 0.5), calib=calib, weights=w) for w in (None, weights))
    assert all(torch.equal(a, b) for a, b in weights_of(plain, sink))


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_a_constant_factor_on_the_weights_changes_no_mask(method):
    calib, small = states("uniform"), reader()
    a, b = (
        pruning.prune(small, Recipe(method, 0.5), calib=calib, weights=c * token_weights("ones", calib))
        for c in (1.0, 4.0)
    )
    same = [((x == 0) == (y == 0)).float().mean() for x, y in weights_of(a, b)]
    assert min(same) > 0.999
