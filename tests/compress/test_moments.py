"""Rank-deficient, zero and non-finite second moments: finite weights or a refusal, and no dependence on scale."""

import dataclasses
import math

import pytest
import torch

from dlmlab.compress import activations, methods, moments, pruning, sparsegpt
from dlmlab.compress.activations import Statistics
from dlmlab.compress.pruning import Recipe
from dlmlab.compress.refit import least_squares_refit
from dlmlab.compress.removal import remove_units
from dlmlab.compress.selection import select
from dlmlab.network import parts
from tests.compress.cases import seeded, tiny_calibration
from tests.tiny import one_thread, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
R, C = 6, 24
GONE = torch.arange(C) % 2 == 1


def refit(W, gram, damp):
    return least_squares_refit(W, select(W.abs(), 0.5), gram, damp=damp)


def refit_columns(W, gram, damp):
    """All rows lost the same columns, as where whole units leave."""
    return least_squares_refit(W, GONE.expand(W.shape), gram, damp=damp)


SOLVERS = {  # everything that inverts second moments: (W, gram, damp) -> new weights
    "sparsegpt": lambda W, gram, damp: sparsegpt.sparsegpt(W, gram, 0.5, damp=damp),
    "sparsegpt 2:4": lambda W, gram, damp: sparsegpt.sparsegpt(W, gram, 0.5, pattern="2:4", damp=damp),
    "refit": refit,
    "refit of whole columns": refit_columns,
}
solvers = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)


def inputs(seed: int, rank: int, dead: int, n: int = 200) -> torch.Tensor:
    """Draw integer inputs (n, C) of the given rank, so that second moments are exact; some features are dead."""
    g = seeded(seed)
    X = torch.randint(-3, 4, (n, rank), generator=g) @ torch.randint(-3, 4, (rank, C), generator=g)
    X[:, torch.randperm(C, generator=g)[:dead]] = 0
    return X.double()


def weights(seed: int = 0) -> torch.Tensor:
    return torch.randn(R, C, generator=seeded(100 + seed), dtype=torch.float64)


def error(W, out, X):
    return float((X @ (W - out).T).square().sum() / (X @ W.T).square().sum())


# ------------------------------------------------------------------------------------------------ rank


@solvers
@pytest.mark.parametrize("rank", [1, 11, 23, 24])
@pytest.mark.parametrize("dead", [0, 1, 9])
def test_damped_weights_are_finite_and_small_at_any_rank(solve, rank, dead):
    for seed in range(2):
        W, X = weights(seed), inputs(seed, rank, dead)
        for damp in (0.01, 1e-6):
            out = solve(W, X.T @ X, damp)
            assert bool(out.isfinite().all()) and out.abs().max() < 100 * W.abs().max()


@solvers
@pytest.mark.parametrize("rank", [1, 11, 23, 24])
@pytest.mark.parametrize("dead", [0, 9])
def test_without_damping_the_texts_decide_or_it_is_refused(solve, rank, dead):
    """Whatever is returned is as good as nearly no damping; what the texts do not determine is refused by name."""
    for seed in range(2):
        W, X = weights(seed), inputs(seed, rank, dead)
        try:
            out = solve(W, X.T @ X, 0.0)
        except ValueError as refusal:
            assert "damp=0.0" in str(refusal) and rank < C
            continue
        assert rank > 3 and bool(out.isfinite().all())
        assert error(W, out, X) <= error(W, solve(W, X.T @ X, 1e-9), X) + 1e-6


@solvers
def test_one_text_of_one_token_prunes(solve):
    x = torch.randn(1, C, generator=seeded(), dtype=torch.float64)
    out = solve(weights(), x.T @ x, 0.01)
    assert bool(out.isfinite().all())


@solvers
def test_a_layer_that_never_was_active_gets_weights_and_no_nan(solve):
    W, G = weights(), torch.zeros(C, C)
    for damp in (0.0, 0.01):
        out = solve(W, G, damp)
        assert bool(out.isfinite().all())
        assert torch.equal(out[out != 0], W[out != 0]) and bool(out.any()) == (solve in (refit, refit_columns))


@pytest.mark.parametrize("dead", [1, 9, 23])
def test_a_dead_feature_changes_nothing_for_the_others(dead):
    X = inputs(0, C, dead)
    G = X.T @ X
    live = G.diagonal() > 0
    whole, found = moments.damped(G, 0.01)
    assert torch.equal(~found, live) and not whole[live][:, ~live].any()
    alone, _ = moments.damped(G[live][:, live], 0.01)
    torch.testing.assert_close(whole[live][:, live], alone, rtol=1e-15, atol=0)


# ------------------------------------------------------------------------------------------------ scale


@solvers
@pytest.mark.parametrize("dead", [0, 1, 9])
@pytest.mark.parametrize("scale", [2.0**-40, 0.003, 7.0, 2.0**40])
def test_scaling_the_texts_changes_neither_mask_nor_weights(solve, dead, scale):
    for rank in (3, 24):
        W, X = weights(), inputs(1, rank, dead)
        ours, scaled = solve(W, X.T @ X, 0.01), solve(W, (scale * X).T @ (scale * X), 0.01)
        assert torch.equal(ours == 0, scaled == 0)
        torch.testing.assert_close(ours, scaled, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("method", ["wanda", "magnitude_refit", "wanda_refit", "sparsegpt"])
def test_scaling_the_texts_changes_no_pruned_matrix_with_a_dead_feature(method):
    W, X = weights().float(), inputs(2, 5, 4).float()
    results = []
    for scale in (1.0, 2.0**-20, 2.0**20):
        found = Statistics.empty(C, gram=True).add(scale * X[None])
        results.append(pruning.prune_matrix(W, Recipe(method, 0.5), found))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


# ------------------------------------------------------------------------------------------------ effective rank


@pytest.mark.parametrize("rank", [1, 5, 24])
def test_equal_directions_are_counted_in_any_basis_and_at_any_scale(rank):
    Q = torch.linalg.qr(torch.randn(C, C, generator=seeded(), dtype=torch.float64)).Q[:, :rank]
    for scale in (1e-6, 1.0, 1e6):
        assert moments.effective_rank(scale * Q @ Q.T) == pytest.approx(rank, rel=1e-6)


def test_unequal_directions_count_for_less_and_dead_features_for_nothing():
    X = inputs(0, 11, 9)
    found = moments.effective_rank(X.T @ X)
    p = torch.linalg.svdvals(X).square()
    p = p[p > 1e-9 * p[0]] / p.sum()
    assert found == pytest.approx(math.exp(-float((p * p.log()).sum())), rel=1e-6) and 1 < found < 11
    live = (X != 0).any(0)
    assert moments.effective_rank(X[:, live].T @ X[:, live]) == pytest.approx(found, rel=1e-6)
    for bad, text in (
        (torch.zeros(3, 3), "all 0"),
        (-torch.eye(3), "diagonal >= 0"),
        (torch.ones(3), r"must be \(C, C\)"),
    ):
        with pytest.raises(ValueError, match=text):
            moments.effective_rank(bad)


# ------------------------------------------------------------------------------------------------ refused


@solvers
@pytest.mark.parametrize("damp", [-0.01, math.nan, math.inf])
def test_a_damp_that_is_no_ridge_is_refused(solve, damp):
    with pytest.raises(ValueError, match=f"damp={damp}"):
        solve(weights(), torch.eye(C), damp)


@solvers
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_what_cannot_be_second_moments_is_refused(solve, value):
    G = torch.eye(C)
    G[2, 2] = value
    with pytest.raises(ValueError, match="second moments must be finite"):
        solve(weights(), G, 0.01)
    with pytest.raises(ValueError, match=r"\(24, 3\)"):
        moments.damped(torch.ones(C, 3), 0.01)


@solvers
def test_moments_that_no_inputs_have_are_refused(solve):
    G = torch.eye(C) - 0.9  # its lowest eigenvalue is far below 0
    with pytest.raises(ValueError, match=r"damp=0.01 is too small"):
        solve(weights(), G, 0.01)


# ------------------------------------------------------------------------------------------------ models


def dead_layer():
    """A model whose first MLP never fires, and whose second layer therefore has whole rows of zeros to read."""
    model = tiny_model(n_kv_heads=4)
    model.model.transformer["blocks"][0].up_proj.weight.data.zero_()
    return model


@pytest.mark.parametrize("name", [name for name in methods.names() if "sink" not in name])
def test_a_model_with_a_dead_layer_is_pruned_to_finite_weights(name, monkeypatch):
    calib = tiny_calibration()
    monkeypatch.setattr(methods.Texts, "states", lambda self, model, mode=None: calib)
    texts = methods.Texts(None, [])
    for states in (calib, calib.rows(torch.tensor([1]))):  # one text: fewer tokens than features
        monkeypatch.setattr(methods.Texts, "states", lambda self, model, mode=None, s=states: s)
        out = methods.apply(dead_layer(), name, 0.5, texts=texts)
        assert all(bool(p.isfinite().all()) for p in out.parameters())


@pytest.mark.parametrize("units", ["heads", "neurons"])
def test_statistics_that_are_not_finite_are_refused_by_name(units):
    model, site = dead_layer(), parts.UNITS[units].out
    found = activations.collect(model, tiny_calibration(), gram=True)
    found[f"blocks.1.{site}"].gram[0, 0] = math.nan
    with pytest.raises(ValueError, match=rf"blocks\.1\.{site} are not finite"):
        remove_units(model, units, {1: [0]}, statistics=found)
    recipe = Recipe("wanda_refit", 0.5, sequential=False)
    with pytest.raises(ValueError, match=rf"blocks\.1\.{site}: .* not finite"):
        pruning.prune(model, recipe, statistics=found)


def test_texts_without_a_token_and_weights_without_an_end_are_refused():
    model, calib = tiny_model(), tiny_calibration()
    empty = dataclasses.replace(calib, real=torch.zeros_like(calib.real))
    with pytest.raises(ValueError, match=r"blocks\.0\.q_proj: no token"):
        pruning.prune(model, Recipe("sparsegpt", 0.5), calib=empty)
    for value in (math.inf, math.nan, -1.0):
        weights = calib.real.float()
        weights[0, 0] = value
        with pytest.raises(ValueError, match=r"finite and >= 0"):
            pruning.prune(model, Recipe("wanda", 0.5), calib=calib, weights=weights)
