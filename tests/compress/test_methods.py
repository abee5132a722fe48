"""Named methods: from texts to a smaller model, and the variants of sink-awareness."""

import pytest
import torch

from dlmlab.compress import methods, pruning
from dlmlab.compress.calibration import mean_over_levels, sink_scores
from dlmlab.network import parts
from tests.compress.cases import PROBLEMS, TOKENIZER, reader
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = methods.names()


@pytest.mark.parametrize("name", NAMES)
def test_every_named_method_prunes(name):
    small, share = reader(), 0.5
    before = small.num_parameters()
    texts = methods.Texts(TOKENIZER, PROBLEMS[:3])
    out = methods.apply(small, name, share, texts=texts)
    if name in ("heads", "neurons", "layers"):
        assert out.num_parameters() < before
    else:
        assert pruning.sparsity_of(out) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("name", ["heads", "layers"])
def test_a_share_too_small_to_remove_anything_is_refused(name):
    texts = methods.Texts(TOKENIZER, PROBLEMS[:3])
    with pytest.raises(ValueError, match=f"sparsity=0.01 is less than one of the {name}: nothing would be removed"):
        methods.apply(reader(), name, 0.01, texts=texts)
    assert methods.apply(reader(), name, 0.0, texts=texts).num_parameters() == reader().num_parameters()


def test_sink_aware_methods_keep_n_of_m():
    texts = methods.Texts(TOKENIZER, PROBLEMS[:3])
    for name in ("sink-wanda", "sink-sparsegpt"):
        out = methods.apply(reader(), name, 0.5, texts=texts, pattern="2:4")
        assert all(bool(((W == 0).view(len(W), -1, 4).sum(-1) == 2).all()) for W in parts.weights(out).values())


def asked(name, monkeypatch) -> dict:
    """Note what a sink-aware method hands to `prune`."""
    seen = {}
    monkeypatch.setattr(methods, "prune", lambda model, recipe, **kw: seen.update(kw, recipe=recipe))
    methods.apply(reader(), name, 0.5, texts=methods.Texts(TOKENIZER, PROBLEMS))
    return seen


def test_the_released_sparsegpt_variant_scores_noised_and_prunes_on_clean_texts(monkeypatch):
    seen = asked("sink-sparsegpt", monkeypatch)
    assert not seen["calib"].masked.any() and len(seen["calib"]) == 6 and seen["recipe"].sequential
    grid = methods.Texts(TOKENIZER, PROBLEMS).states(reader(), "grid")
    phi = sink_scores(reader(), grid)
    for text, (weight, real) in enumerate(zip(seen["weights"], seen["calib"].real, strict=True)):
        mean = phi[grid.text == text].mean(0)  # over the ten levels
        assert torch.allclose(weight, (1 - mean) * real, atol=1e-6) and mean[real].std() > 0.05


@pytest.mark.parametrize("name, mean", [("sink-wanda", False), ("sink-wanda-paper", True)])
def test_the_paper_averages_phi_over_the_levels_and_the_released_code_does_not(name, mean, monkeypatch):
    seen = asked(name, monkeypatch)
    calib, phi = seen["calib"], sink_scores(reader(), seen["calib"])
    wanted = mean_over_levels(phi, calib) if mean else phi
    assert torch.equal(seen["weights"], (1 - wanted) * calib.real)
    assert len(calib) == 60 and seen["recipe"].statistic == "norms" and not seen["recipe"].sequential


@pytest.mark.parametrize("name", NAMES)
def test_a_block_is_used_by_sparsegpt_and_refused_by_the_others(name, monkeypatch):
    texts, seen = methods.Texts(TOKENIZER, PROBLEMS[:3]), {}
    monkeypatch.setattr(methods, "prune", lambda model, recipe, **kw: seen.update(block=recipe.block))
    if "sparsegpt" in name:
        methods.apply(reader(), name, 0.5, texts=texts, block=128)
        assert seen["block"] == 128
    else:
        with pytest.raises(ValueError, match="block=128"):
            methods.apply(reader(), name, 0.5, texts=texts, block=128)


@pytest.mark.parametrize(
    "name, pattern, text", [("dllm_unstruct", "row", "is unknown; known: .*random"), ("heads", "2:4", "has no meaning")]
)
def test_a_name_without_meaning_is_refused(name, pattern, text):
    with pytest.raises(ValueError, match=text):
        methods.apply(reader(), name, 0.5, texts=methods.Texts(TOKENIZER, PROBLEMS), pattern=pattern)
