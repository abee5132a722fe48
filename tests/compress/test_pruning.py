"""Pruning one matrix and a whole model: exact properties, and inequalities with margins on a toy problem."""

import math

import pytest
import torch

from dlmlab.compress import activations, pruning, selection, sparse, sparsegpt
from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet
from dlmlab.compress.pruning import Recipe
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
W3 = torch.tensor([[4.0, 0, 1, -1], [3, -2, -1, -3], [-3, 1, 0, 2]])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy(C: int = 64, R: int = 24, n: int = 4096):
    """A random matrix and correlated inputs with features of unequal size: W (R, C), X (n, C)."""
    g = seeded()
    common = torch.randn(n, C // 4, generator=g) @ torch.randn(C // 4, C, generator=g) / C**0.5
    X = (common + 0.3 * torch.randn(n, C, generator=g)) * torch.exp(0.5 * torch.randn(C, generator=g))
    return torch.randn(R, C, generator=g), X


def statistics(X: torch.Tensor) -> Statistics:
    return Statistics.empty(X.shape[1], gram=True).add(X[None])


def tiny_calibration(N: int = 12, L: int = 10) -> CalibrationSet:
    ids = tiny_ids(N, L)
    real = torch.ones(N, L, dtype=torch.bool)
    real[::3, 7:] = False
    return CalibrationSet(ids, real, torch.linspace(0.1, 1, N), torch.arange(N) % 4, mask_id=0)


# ------------------------------------------------------------------------------------------------ scores, selection


def test_wanda_and_magnitude_on_a_matrix_worked_out_by_hand():
    norms = torch.tensor([1.0, 2, 8, 3])
    removed = selection.select(pruning.wanda_scores(W3, norms), 0.5)
    assert W3.masked_fill(removed, 0).tolist() == [[4, 0, 1, 0], [0, 0, -1, -3], [-3, 0, 0, 2]]
    assert W3.masked_fill(selection.select(W3.abs(), 0.5), 0)[1].tolist() == [3, 0, 0, -3]


@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.3, 0.5, 0.99])
def test_exactly_k_weights_go_even_when_all_tie(sparsity):
    for scores in (torch.zeros(5, 40), torch.rand(5, 40, generator=seeded())):
        assert (selection.select(scores, sparsity).sum(1) == int(40 * sparsity + 1e-9)).all()
        assert selection.select(scores, sparsity, "layer").sum() == int(200 * sparsity + 1e-9)


def test_ties_go_by_the_lower_index():
    assert selection.select(torch.zeros(2, 4), 0.5).tolist() == [[True, True, False, False]] * 2


def test_a_row_pattern_spares_every_row_and_a_layer_pattern_need_not():
    scores = torch.tensor([[1.0, 2, 3, 4], [10, 20, 30, 40]])
    assert selection.select(scores, 0.5).sum(1).tolist() == [2, 2]
    assert selection.select(scores, 0.5, "layer").sum(1).tolist() == [4, 0]
    both = selection.select_global({"a": scores[:1], "b": scores[1:]}, 0.5)
    assert both["a"].all() and not both["b"].any()


@pytest.mark.parametrize("n, m", [(2, 4), (4, 8), (1, 4)])
def test_n_of_m_leaves_m_minus_n_in_every_group(n, m):
    removed = selection.select(torch.rand(6, 32, generator=seeded()), n / m, f"{n}:{m}")
    assert (removed.view(6, -1, m).sum(-1) == n).all()


@pytest.mark.parametrize(
    "sparsity, pattern, text",
    [
        (0.4, "2:4", "not sparsity=0.4"),
        (0.5, "4:4", "0 < n < m"),
        (1.0, "row", r"outside \[0, 1\)"),
        (-0.1, "row", "outside"),
        (float("nan"), "row", "outside"),
        (0.5, "column", "is unknown"),
    ],
)
def test_an_impossible_request_is_refused(sparsity, pattern, text):
    with pytest.raises(ValueError, match=text):
        selection.select(torch.rand(4, 8), sparsity, pattern)
    with pytest.raises(ValueError, match=text):
        Recipe("wanda", sparsity, pattern)


def test_columns_that_m_does_not_divide_are_refused():
    with pytest.raises(ValueError, match="not a multiple of 4"):
        selection.select(torch.rand(4, 10), 0.5, "2:4")


# ------------------------------------------------------------------------------------------------ SparseGPT, refit


def test_with_a_diagonal_second_moment_sparsegpt_updates_nothing_and_orders_like_wanda():
    W, _ = toy()
    h = torch.rand(64, generator=seeded(1)) + 0.1
    out = sparsegpt.sparsegpt(W, h.diag(), 0.5, block=64, damp=0.0)
    assert torch.allclose(out[out != 0], W[out != 0])
    wanda_squared = W.double() ** 2 * h
    assert torch.equal(out == 0, selection.select(wanda_squared, 0.5, "layer"))


def test_sparsegpt_n_of_m_does_not_depend_on_the_block():
    W, X = toy()
    gram = (X.T @ X).double()
    small, large = (sparsegpt.sparsegpt(W.double(), gram, 0.5, pattern="2:4", block=b) for b in (16, 64))
    assert (small - large).abs().max() < 1e-12
    assert ((small == 0).view(24, -1, 4).sum(-1) == 2).all()


@pytest.mark.parametrize("C", [12, 192])
def test_n_of_m_of_every_width_that_divides_the_columns_works(C):
    """The default block holds whole groups, also of patterns as coarse as 8:16 or half of all columns."""
    W, X = torch.randn(2, C, generator=seeded()), torch.randn(2 * C, C, generator=seeded(1))
    gram = (X.T @ X).double()
    for m in [m for m in range(2, C + 1) if C % m == 0]:
        out = sparsegpt.sparsegpt(W, gram, (m // 2) / m, pattern=f"{m // 2}:{m}")
        assert ((out == 0).view(2, -1, m).sum(-1) == m // 2).all()
    with pytest.raises(ValueError, match=f"{C} columns are not a multiple of 5"):
        sparsegpt.sparsegpt(W, gram, 0.2, pattern="1:5")


def test_the_block_of_a_recipe_is_the_one_sparsegpt_uses():
    W, X = toy()
    for block in (None, 16, 128):
        ours = pruning.prune_matrix(W, Recipe("sparsegpt", 0.5, block=block), statistics(X))
        assert torch.equal(ours, sparsegpt.sparsegpt(W, statistics(X).gram, 0.5, block=block))
    whole = sparsegpt.sparsegpt(W, statistics(X).gram, 0.5, block=64)
    assert torch.equal(ours, whole)  # 128 columns hold all 64: one shot
    calls = [pruning.prune(tiny_model(), Recipe("sparsegpt", 0.5, block=b), calib=tiny_calibration()) for b in (8, 128)]
    assert any(not torch.equal(a, b) for (_, a), (_, b) in zip(*map(pruning.prunable, calls), strict=True))


def test_sparsegpt_removes_the_share_of_every_block_and_what_never_was_active():
    W, X = toy()
    X[:, 5] = 0
    out = sparsegpt.sparsegpt(W, X.T @ X, 0.5, block=16)
    assert (out[:, 5] == 0).all()
    for start in range(0, 64, 16):
        zeros = (out[:, start : start + 16] == 0).sum()
        assert zeros == 24 * 8


def test_the_refit_is_the_least_squares_solution_for_its_mask():
    W, X = toy(C=12, R=5, n=200)
    removed = selection.select(W.abs(), 0.5)
    removed[2] = False  # rows may keep different numbers
    out = pruning.least_squares_refit(W, removed, X.T @ X, damp=0.0)
    for r in range(5):
        K = ~removed[r]
        best = torch.linalg.lstsq(X[:, K].double(), X.double() @ W[r].double()).solution
        assert torch.allclose(out[r, K].double(), best, atol=1e-4)
        assert (out[r, removed[r]] == 0).all()


def relative_error(W, X, out):
    return float((X @ (W - out).T).square().sum() / (X @ W.T).square().sum())


@pytest.mark.parametrize("sparsity", [0.5, 0.75])
def test_the_order_of_methods_on_a_toy_problem(sparsity):
    W, X = toy()
    found = statistics(X)
    error = {
        m: relative_error(W, X, pruning.prune_matrix(W, Recipe(m, sparsity), found, generator=seeded()))
        for m in pruning.METHODS
    }
    assert error["random"] > 1.8 * error["magnitude"] > 1.8 * 1.4 * error["wanda"]
    assert error["wanda"] > 1.3 * error["sparsegpt"] > 1.3 * 1.05 * error["wanda_refit"]


def test_a_mask_chosen_in_one_shot_is_worse_than_one_chosen_block_by_block():
    W, X = toy()
    one_shot, blocks = (relative_error(W, X, sparsegpt.sparsegpt(W, X.T @ X, 0.75, block=b)) for b in (64, 8))
    assert one_shot > 1.05 * blocks
    assert (
        sparsegpt.default_block(64) == 8 and sparsegpt.default_block(192) == 24 and sparsegpt.default_block(4096) == 128
    )


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "wanda_refit"])
def test_scaling_the_inputs_changes_no_mask(method):
    W, X = toy()
    masks = [pruning.prune_matrix(W, Recipe(method, 0.5), statistics(c * X)) == 0 for c in (1.0, 8.0)]
    assert torch.equal(*masks)


@pytest.mark.parametrize("method", pruning.METHODS)
def test_nothing_happens_at_sparsity_0(method):
    W, X = toy(C=16, R=4, n=64)
    out = pruning.prune_matrix(W, Recipe(method, 0.0), statistics(X), generator=seeded())
    assert torch.equal(out, W) and out is not W


# ------------------------------------------------------------------------------------------------ schedules


@pytest.mark.parametrize("sparsity", [0.0, 0.03, 0.5, 0.9, 0.95])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_schedule_keeps_its_mean_and_its_limits(sparsity, sign):
    plan = pruning.layer_sparsities(sparsity, [sign * i for i in range(6)], width=0.3)
    assert math.isclose(sum(plan) / 6, sparsity, abs_tol=1e-9)
    assert min(plan) >= 0 and max(plan) <= pruning.MAX_SPARSITY
    assert plan == sorted(plan, reverse=sign > 0)


def test_equal_importance_is_the_uniform_schedule():
    assert pruning.layer_sparsities(0.5, [3, 3, 3]) == [0.5] * 3


def test_a_mean_that_no_schedule_reaches_is_refused():
    with pytest.raises(ValueError, match="0.96"):
        pruning.layer_sparsities(0.96, [0, 1])


def test_the_outlier_ratio_counts_large_scores():
    W = torch.ones(1, 10)
    W[0, 0] = 100
    assert pruning.outlier_ratio(W, torch.ones(10)) == pytest.approx(0.1)


# ------------------------------------------------------------------------------------------------ models


def test_every_method_prunes_the_blocks_to_the_share_and_nothing_else():
    model, calib = tiny_model(), tiny_calibration()
    for method in pruning.METHODS:
        out = pruning.prune(model, Recipe(method, 0.5), calib=calib, generator=seeded())
        assert pruning.sparsity_of(out) == pytest.approx(0.5, abs=0.01)
        for name in ("wte", "ln_f", "ff_out"):
            assert torch.equal(out.model.transformer[name].weight, model.model.transformer[name].weight)
    assert pruning.sparsity_of(model) == 0  # the dense model is left alone


def test_sequential_statistics_are_those_of_the_pruned_layers_before():
    model, calib = tiny_model(), tiny_calibration()
    found, pruned = {}, tiny_model()
    for layer, seen in activations.walk(pruned, calib):
        found[layer] = seen["q_proj"].rms
        for name in pruning.MATRICES:
            getattr(pruned.model.transformer["blocks"][layer], name).weight.data.mul_(0.5)
    again = activations.collect(pruned, calib)
    dense = activations.collect(model, calib)
    assert torch.allclose(found[1], again["blocks.1.q_proj"].rms)
    assert not torch.allclose(found[1], dense["blocks.1.q_proj"].rms)


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
        (lambda m: Recipe("dllm_struct", 0.5), "'dllm_struct' is unknown; known: random"),
        (lambda m: pruning.prune(m, Recipe("wanda", 0.5)), "needs calib="),
        (lambda m: pruning.prune(m, Recipe("random", 0.5)), "needs generator="),
        (lambda m: pruning.prune(m, Recipe("magnitude", 0.5), layers=[0.5]), "needs 2 values"),
        (lambda m: pruning.prune(m, Recipe("magnitude", 0.5, "2:4"), layers=[0.5, 0.5]), "other than n:m"),
        (lambda m: Recipe("sparsegpt", 0.5, "layer"), "not possible"),
        (lambda m: Recipe("wanda", 0.5, "global"), "sequential=False"),
        (lambda m: Recipe("wanda", 0.5, block=128), "block=128 is of sparsegpt alone: method 'wanda'"),
        (lambda m: Recipe("sparsegpt", 0.5, block=0), "block=0 must be"),
        (lambda m: Recipe("sparsegpt", 0.5, block=2.5), "block=2.5 must be"),
        (lambda m: Recipe("sparsegpt", 0.5, "8:16", block=24), "block=24 .* multiple of 16"),
        (lambda m: pruning.prune(m, Recipe("magnitude", 9 / 27, "9:27")), r"q_proj: .*27: 32 columns"),
        (lambda m: selection.select(torch.tensor([[1.0, math.nan]]), 0.5), "1 of 2 scores are nan"),
        (lambda m: pruning.layer_sparsities(0.5, [0, math.nan]), "nan"),
        (lambda m: pruning.layer_sparsities(0.5, []), "one importance a layer"),
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


# ------------------------------------------------------------------------------------------------ storage


def test_packing_loses_nothing_and_counts_real_bytes():
    W = torch.randn(7, 13, generator=seeded())
    W[W.abs() < 0.7] = 0
    packed = sparse.pack(W)
    assert torch.equal(sparse.unpack(packed), W)
    assert packed.nbytes == 4 * int((W != 0).sum()) + math.ceil(91 / 8)


def test_a_dense_model_is_not_stored_larger_than_dense():
    model = tiny_model()
    dense = sum(p.numel() * 4 for p in model.parameters())
    assert sparse.stored_bytes(model) == dense
    assert sparse.stored_bytes(pruning.prune(model, Recipe("magnitude", 0.5))) < dense
