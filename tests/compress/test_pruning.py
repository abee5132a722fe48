"""Pruning one matrix and a whole model: exact properties, and inequalities with margins on a toy problem."""

import pytest
import torch

from dlmlab.compress import activations, pruning
from dlmlab.compress.activations import Statistics
from dlmlab.compress.pruning import Recipe
from dlmlab.network import parts
from tests.compress.cases import relative_error, seeded, statistics, tiny_calibration, toy
from tests.tiny import one_thread, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
MATRIX_METHODS = ("random", "magnitude", "wanda", "wanda_refit", "sparsegpt")


@pytest.mark.parametrize("sparsity", [0.5, 0.75])
def test_the_order_of_methods_on_a_toy_problem(sparsity):
    W, X = toy()
    found = statistics(X)
    error = {
        m: relative_error(W, X, pruning.prune_matrix(W, Recipe(m, sparsity), found, generator=seeded()))
        for m in MATRIX_METHODS
    }
    assert error["random"] > 1.8 * error["magnitude"] > 1.8 * 1.4 * error["wanda"]
    assert error["wanda"] > 1.3 * error["sparsegpt"] > 1.3 * 1.05 * error["wanda_refit"]


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "wanda_refit"])
def test_scaling_the_inputs_changes_no_mask(method):
    W, X = toy()
    masks = [pruning.prune_matrix(W, Recipe(method, 0.5), statistics(c * X)) == 0 for c in (1.0, 8.0)]
    assert torch.equal(*masks)


def test_wanda_reads_the_statistic_of_the_recipe():
    W, X = toy()
    X = X.view(64, 64, 64)  # states, tokens, features
    X[4:, :, ::2] = 0  # half of the features are active in a few states: the kinds of mean disagree about them
    norms = X.double().square().sum(1).sqrt()  # (states, C)
    for kind, norm in (("rms", norms.square().mean(0).sqrt()), ("norms", norms.sum(0))):
        out = pruning.prune_matrix(W, Recipe("wanda", 0.5, statistic=kind), Statistics.empty(64).add(X))
        wanted = (W.abs() * norm).argsort(1).argsort(1) < 32
        assert torch.equal(out == 0, wanted), kind


@pytest.mark.parametrize("method", MATRIX_METHODS)
def test_nothing_happens_at_sparsity_0(method):
    W, X = toy(C=16, R=4, n=64)
    out = pruning.prune_matrix(W, Recipe(method, 0.0), statistics(X), generator=seeded())
    assert torch.equal(out, W) and out is not W


def test_every_method_prunes_the_blocks_to_the_share_and_nothing_else():
    model, calib = tiny_model(), tiny_calibration()
    for method in MATRIX_METHODS:
        out = pruning.prune(model, Recipe(method, 0.5), calib=calib, generator=seeded())
        assert pruning.sparsity_of(out) == pytest.approx(0.5, abs=0.01)
        for name in ("wte", "ln_f", "ff_out"):
            assert torch.equal(out.model.transformer[name].weight, model.model.transformer[name].weight)
    assert pruning.sparsity_of(model) == 0  # the dense model is left alone


def test_a_schedule_gives_each_layer_its_own_sparsity():
    out = pruning.prune(tiny_model(), Recipe("magnitude", 0.5), layers=[0.25, 0.75])
    zeros = [float((b.ff_proj.weight == 0).float().mean()) for b in out.model.transformer["blocks"]]
    assert zeros == pytest.approx([0.25, 0.75])


def test_the_global_pattern_removes_the_share_over_all_matrices():
    recipe = Recipe("wanda", 0.5, "global", sequential=False)
    out = pruning.prune(tiny_model(), recipe, calib=tiny_calibration())
    assert pruning.sparsity_of(out) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda m: Recipe("dllm_struct", 0.5), "'dllm_struct' is unknown; known: .*random"),
        (lambda m: pruning.prune(m, Recipe("wanda", 0.5)), "needs calib="),
        (lambda m: pruning.prune(m, Recipe("random", 0.5)), "needs generator="),
        (lambda m: pruning.prune(m, Recipe("magnitude", 0.5), layers=[0.5]), "needs 2 of them"),
        (lambda m: pruning.prune(m, Recipe("magnitude", 0.5, "2:4"), layers=[0.5, 0.5]), "other than n:m"),
        (lambda m: Recipe("sparsegpt", 0.5, "layer"), "not possible"),
        (lambda m: Recipe("wanda", 0.5, "global"), "sequential=False"),
        (lambda m: Recipe("wanda", 0.5, block=128), "block=128: method 'wanda' has no blocks"),
        (lambda m: Recipe("sparsegpt", 0.5, block=0), "block=0 must be"),
        (lambda m: Recipe("sparsegpt", 0.5, block=2.5), "block=2.5 must be"),
        (lambda m: Recipe("sparsegpt", 0.5, "8:16", block=24), "block=24 .* multiple of 16"),
        (lambda m: pruning.prune(m, Recipe("magnitude", 9 / 27, "9:27")), r"q_proj: .*27: 32 columns"),
    ],
)
def test_what_a_method_cannot_do_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call(tiny_model())


def test_activations_that_are_not_finite_are_refused():
    model = tiny_model()
    with torch.no_grad():
        model.model.transformer["blocks"][0].up_proj.weight[0, 0] = float("inf")
    for method in ("wanda", "sparsegpt", "wanda_refit"):
        with pytest.raises(ValueError, match=r"blocks\.0\.ff_out are not finite"):
            pruning.prune(model, Recipe(method, 0.5), calib=tiny_calibration())
    with pytest.raises(ValueError, match=r"blocks\.0\.up_proj: the weights hold nan or inf"):
        pruning.prune(model, Recipe("magnitude", 0.5))
    found = Statistics.empty(4).add(torch.full((1, 2, 4), float("nan")))
    with pytest.raises(ValueError, match="not finite"):
        pruning.prune_matrix(torch.ones(2, 4), Recipe("wanda", 0.5), found)


def test_the_statistic_of_wanda_is_the_one_that_was_asked_for():
    """States of unequal size tell the root of the mean square from the sum of norms: one loud state, or many quiet."""
    loud = torch.zeros(9, 1, 4)
    loud[0, 0, :2] = 6.0  # two features that are large once: rms 2, sum of norms 6
    loud[:, 0, 2:] = 1.0  # two that are small always: rms 1, sum of norms 9
    found, W = Statistics.empty(4).add(loud), torch.ones(2, 4)
    for statistic, kept in (("rms", [1, 1, 0, 0]), ("norms", [0, 0, 1, 1])):
        recipe = Recipe("wanda", 0.5, statistic=statistic)
        assert pruning.prune_matrix(W, recipe, found).tolist() == [kept, kept]


def test_the_weights_of_tokens_count_where_all_matrices_are_compared():
    model, calib, recipe = tiny_model(), tiny_calibration(), Recipe("wanda", 0.5, "global", sequential=False)
    weights = torch.rand(calib.ids.shape, generator=seeded()) ** 4
    ours = pruning.prune(model, recipe, calib=calib, weights=weights)
    theirs = pruning.prune(model, recipe, statistics=activations.collect(model, calib, weights=weights))
    plain = pruning.prune(model, recipe, calib=calib)
    a, b, c = (torch.cat([W.flatten() for W in parts.weights(m).values()]) for m in (ours, theirs, plain))
    assert torch.equal(a, b) and not torch.equal(a, c)
