"""SparseGPT on matrices: exact properties, and inequalities with margins on a toy problem."""

import pytest
import torch

from dlmlab.compress import pruning, selection, sparsegpt
from dlmlab.compress.pruning import Recipe
from tests.compress.cases import relative_error, seeded, statistics, tiny_calibration, toy, weights_of
from tests.tiny import one_thread, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


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
    assert any(not torch.equal(a, b) for a, b in weights_of(*calls))


def test_sparsegpt_removes_the_share_of_every_block_and_what_never_was_active():
    W, X = toy()
    X[:, 5] = 0
    out = sparsegpt.sparsegpt(W, X.T @ X, 0.5, block=16)
    assert (out[:, 5] == 0).all()
    for start in range(0, 64, 16):
        zeros = (out[:, start : start + 16] == 0).sum()
        assert zeros == 24 * 8


def test_a_mask_chosen_in_one_shot_is_worse_than_one_chosen_block_by_block():
    W, X = toy()
    one_shot, blocks = (relative_error(W, X, sparsegpt.sparsegpt(W, X.T @ X, 0.75, block=b)) for b in (64, 8))
    assert one_shot > 1.05 * blocks
    assert (
        sparsegpt.default_block(64) == 8 and sparsegpt.default_block(192) == 24 and sparsegpt.default_block(4096) == 128
    )
