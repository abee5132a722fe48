"""Compression where the model is: nothing of the statistics, the weights or the texts stays behind on the CPU."""

import pytest
import torch

from dlmlab.attention import sinks
from dlmlab.compress import activations, levels, methods, pruning, removal, scores
from dlmlab.compress.calibration import sink_scores, token_weights
from dlmlab.compress.pruning import Recipe
from dlmlab.network import parts
from tests.compress.cases import PROBLEMS, TOKENIZER, even_heads, reader, seeded, states, tiny_calibration
from tests.elsewhere import Device, Elsewhere, move
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def here(model) -> dict[str, torch.Tensor]:
    """Fetch the matrices of a model from where they are, which must be elsewhere."""
    found = {name: W.data for name, W in parts.weights(model).items()}
    assert all(isinstance(W, Elsewhere) for W in found.values())
    return {name: W.here for name, W in found.items()}


def test_the_device_notices_what_stays_behind():
    with torch.no_grad(), Device():
        away = torch.zeros(3, device="meta") + 1
        assert isinstance(away, Elsewhere) and bool((away == 1).all()) and away.cpu().tolist() == [1, 1, 1]
        with pytest.raises(RuntimeError, match="two devices"):
            away + torch.ones(3)


@pytest.mark.parametrize("name", ["random", "magnitude", "magnitude_refit", "wanda", "wanda_refit", "sparsegpt"])
def test_a_model_is_pruned_where_it_is(name):
    calib, recipe = tiny_calibration(), Recipe(name, 0.5)
    weights = token_weights("masks", calib) + 0.5 * calib.real
    expected = pruning.prune(even_heads(), recipe, calib=calib, weights=weights, generator=seeded())
    with torch.no_grad(), Device():
        small = pruning.prune(move(even_heads()), recipe, calib=calib, weights=weights, generator=seeded())
    for name, W in here(small).items():
        torch.testing.assert_close(W, parts.weights(expected)[name].data)


def test_statistics_live_on_the_device_of_the_model():
    with torch.no_grad(), Device():
        model = move(even_heads())
        found = activations.collect(model, tiny_calibration(), gram=True)
        assert all(isinstance(s.gram, Elsewhere) and isinstance(s.abs_max, Elsewhere) for s in found.values())
        assert len(scores.outlier_ratios(model, found)) == 2
        worst = levels.robust([found, found])
        small = pruning.prune(model, Recipe("wanda", 0.5, "global", sequential=False), statistics=worst)
        assert pruning.sparsity_of(small) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("units", ["heads", "neurons"])
def test_units_are_removed_where_the_model_is(units):
    with torch.no_grad(), Device():
        model = move(even_heads())
        found = activations.collect(model, tiny_calibration(), gram=True)
        for method in ("wanda", "random"):
            chosen = removal.choose_units(model, units, 0.5, method, statistics=found, generator=seeded())
        small = removal.remove_units(model, units, chosen, statistics=found)
        assert all(W.shape for W in here(small).values())


def test_scores_of_tokens_and_layers_are_found_where_the_model_is(monkeypatch):
    calib = states("uniform")
    phi, influence = sink_scores(reader(), calib), removal.block_influence(reader(), calib)
    monkeypatch.setattr(sinks, "received", sinks.received.__wrapped__)  # inference mode cannot mix with wrapped tensors
    with torch.no_grad(), Device():
        model = move(reader())
        torch.testing.assert_close(sink_scores(model, calib), phi)
        assert removal.block_influence(model, calib) == pytest.approx(influence)


def test_the_states_of_real_runs_are_collected_where_the_model_is():
    texts = methods.Texts(TOKENIZER, PROBLEMS[:1], "trajectory")
    expected = texts.states(reader()).ids
    with torch.no_grad(), Device():
        assert torch.equal(texts.states(move(reader())).ids, expected)
