"""Calibration sets and token weights: whose texts, which states, and what a weight does to the statistics."""

import pytest
import torch

from dlmlab.compress import activations, calibration, methods, pruning
from dlmlab.compress.calibration import CalibrationSet, calibration_set, token_weights
from dlmlab.compress.pruning import Recipe
from dlmlab.task import tasks
from dlmlab.task.layout import encode_rows
from dlmlab.task.tokenizer import build_tokenizer
from tests.tiny import one_thread, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
TOKENIZER = build_tokenizer()
PROBLEMS = calibration.calibration_problems(6)
ROWS = encode_rows(TOKENIZER, PROBLEMS, side="right")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(attention: str = "full"):
    return tiny_model(
        attention,
        vocab_size=len(TOKENIZER),
        max_sequence_length=96,
        mask_token_id=TOKENIZER.mask_token_id,
        eos_token_id=TOKENIZER.eos_token_id,
        n_kv_heads=4,
    )


def states(mode: str, **options) -> CalibrationSet:
    return calibration_set(TOKENIZER, PROBLEMS, mode, generator=seeded(), **options)


# ------------------------------------------------------------------------------------------------ texts


def test_only_the_calibration_split_is_allowed():
    with pytest.raises(ValueError, match="split 'test'"):
        calibration.calibration_problems(4, split="test")
    for split in ("test", "validation"):
        with pytest.raises(ValueError, match=f"got one of '{split}'"):
            calibration_set(TOKENIZER, [*PROBLEMS, tasks.load_split(split)[0]], "clean")


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


def test_the_same_seed_makes_the_same_states():
    assert torch.equal(states("uniform").ids, states("uniform").ids)


def test_a_trajectory_set_holds_the_inputs_of_real_runs():
    small = model()
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


# ------------------------------------------------------------------------------------------------ statistics


def test_statistics_are_those_of_the_inputs_without_padding():
    small, calib = model(), states("uniform")
    seen = []
    hook = small.model.transformer["blocks"][1].ff_out.register_forward_pre_hook(lambda m, x: seen.append(x[0]))
    with torch.inference_mode():
        small(calib.ids, calib.real)
    hook.remove()
    found = activations.collect(small, calib, gram=True, batch_size=4)["blocks.1.ff_out"]
    X = seen[0][calib.real].double()
    assert torch.allclose(found.sum_sq, X.square().sum(0), rtol=1e-5)
    assert torch.allclose(found.gram, X.T @ X, rtol=1e-4, atol=1e-2)
    assert torch.allclose(found.abs_max, X.abs().amax(0), rtol=1e-6)
    assert found.tokens == int(calib.real.sum()) and found.states == len(calib)
    norm = (seen[0] * calib.real[..., None]).double().square().sum(1).sqrt().sum(0)
    assert torch.allclose(found.sum_norm, norm, rtol=1e-5)


def test_a_token_of_weight_0_is_as_if_it_were_not_there():
    small, calib = model(), states("uniform")
    found = activations.collect(small, calib, weights=token_weights("masks", calib))["blocks.0.ff_out"]
    other = activations.collect(small, calib, weights=token_weights("visible", calib))["blocks.0.ff_out"]
    both = activations.collect(small, calib)["blocks.0.ff_out"]
    assert torch.allclose(found.sum_sq + other.sum_sq, both.sum_sq)
    assert found.tokens == int(calib.masked.sum())


def test_matrices_of_one_input_share_their_statistics():
    found = activations.collect(model(), states("clean"))
    assert found["blocks.0.q_proj"] is found["blocks.0.v_proj"] is not found["blocks.1.q_proj"]


def test_masks_for_a_causal_model_and_wrong_weights_are_refused():
    with pytest.raises(ValueError, match="never sees masks"):
        activations.collect(model("causal"), states("uniform"))
    calib = states("clean")
    with pytest.raises(ValueError, match="of shape"):
        activations.collect(model(), calib, weights=torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"blocks\.0\.q_proj: no token"):
        activations.collect(model(), calib, weights=token_weights("masks", calib))


# ------------------------------------------------------------------------------------------------ token weights


def test_the_weights_are_what_their_names_say():
    calib = states("grid")
    phi = torch.rand(calib.ids.shape, generator=seeded()) * calib.real
    sink, inverted, preserve, shuffled = (
        token_weights(k, calib, phi=phi, lam=2.0, generator=seeded())
        for k in ("sink", "inverted", "preserve", "shuffled")
    )
    real = calib.real.float()
    assert (
        torch.equal(sink, (1 - phi) * real)
        and torch.equal(inverted, phi)
        and torch.equal(preserve, (1 + 2 * phi) * real)
    )
    assert torch.allclose(shuffled.sort(1).values, sink.sort(1).values) and not torch.equal(shuffled, sink)
    for kind in calibration.KINDS:
        weights = token_weights(kind, calib, phi=phi, generator=seeded())
        assert not (weights * ~calib.real).any()
    for kind, text in (("sink", "needs phi"), ("nothing", "is unknown")):
        with pytest.raises(ValueError, match=text):
            token_weights(kind, calib)
    with pytest.raises(ValueError, match="generator="):
        token_weights("shuffled", calib, phi=phi)


def test_sink_scores_do_not_see_padding_and_find_a_planted_sink():
    calib, small = states("clean"), model()
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
    calib, small = states("clean"), model()
    weights = token_weights("sink", calib, phi=torch.zeros(calib.ids.shape))
    plain, sink = (pruning.prune(small, Recipe("wanda", 0.5), calib=calib, weights=w) for w in (None, weights))
    assert all(
        torch.equal(a, b) for (_, a), (_, b) in zip(pruning.prunable(plain), pruning.prunable(sink), strict=True)
    )


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_a_constant_factor_on_the_weights_changes_no_mask(method):
    calib, small = states("uniform"), model()
    a, b = (
        pruning.prune(small, Recipe(method, 0.5), calib=calib, weights=c * token_weights("ones", calib))
        for c in (1.0, 4.0)
    )
    same = [
        ((x == 0) == (y == 0)).float().mean()
        for (_, x), (_, y) in zip(pruning.prunable(a), pruning.prunable(b), strict=True)
    ]
    assert min(same) > 0.999


# ------------------------------------------------------------------------------------------------ named methods


@pytest.mark.parametrize("name", methods.NAMES)
def test_every_named_method_prunes(name):
    small, share = model(), 0.5
    before = small.num_parameters()
    texts = methods.Texts(TOKENIZER, PROBLEMS[:3])
    out = methods.apply(small, name, share, texts=texts)
    if name in methods.STRUCTURED:
        assert out.num_parameters() < before
    else:
        assert pruning.sparsity_of(out) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("name", ["heads", "layers"])
def test_a_share_too_small_to_remove_anything_is_refused(name):
    texts = methods.Texts(TOKENIZER, PROBLEMS[:3])
    with pytest.raises(ValueError, match=f"sparsity=0.01 is less than one of the {name}: nothing would be removed"):
        methods.apply(model(), name, 0.01, texts=texts)
    assert methods.apply(model(), name, 0.0, texts=texts).num_parameters() == model().num_parameters()


def test_sink_aware_methods_keep_n_of_m():
    texts = methods.Texts(TOKENIZER, PROBLEMS[:3])
    for name in ("sink-wanda", "sink-sparsegpt"):
        out = methods.apply(model(), name, 0.5, texts=texts, pattern="2:4")
        assert all(bool(((W == 0).view(len(W), -1, 4).sum(-1) == 2).all()) for _, W in pruning.prunable(out))


def test_the_released_sparsegpt_variant_scores_noised_and_prunes_on_clean_texts(monkeypatch):
    seen = {}
    monkeypatch.setattr(methods, "prune", lambda model, recipe, **kw: seen.update(kw, recipe=recipe))
    methods.sink_aware(model(), "sink-sparsegpt", 0.5, texts=methods.Texts(TOKENIZER, PROBLEMS))
    assert not seen["calib"].masked.any() and len(seen["calib"]) == 6 and seen["recipe"].sequential
    real = seen["weights"][seen["calib"].real]
    assert 0 <= real.min() < 0.9 and real.max() <= 1
    methods.sink_aware(model(), "sink-wanda", 0.5, texts=methods.Texts(TOKENIZER, PROBLEMS))
    assert len(seen["calib"]) == 60 and seen["recipe"].statistic == "norms" and not seen["recipe"].sequential


@pytest.mark.parametrize("name", methods.NAMES)
def test_a_block_is_used_by_sparsegpt_and_refused_by_the_others(name, monkeypatch):
    texts, seen = methods.Texts(TOKENIZER, PROBLEMS[:3]), {}
    monkeypatch.setattr(methods, "prune", lambda model, recipe, **kw: seen.update(block=recipe.block))
    if "sparsegpt" in name:
        methods.apply(model(), name, 0.5, texts=texts, block=128)
        assert seen["block"] == 128
    else:
        with pytest.raises(ValueError, match="block=128"):
            methods.apply(model(), name, 0.5, texts=texts, block=128)


@pytest.mark.parametrize(
    "name, pattern, text", [("dllm_unstruct", "row", "is unknown; known: random"), ("heads", "2:4", "has no meaning")]
)
def test_a_name_without_meaning_is_refused(name, pattern, text):
    with pytest.raises(ValueError, match=text):
        methods.apply(model(), name, 0.5, texts=methods.Texts(TOKENIZER, PROBLEMS), pattern=pattern)
