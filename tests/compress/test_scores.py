"""Scores: worked out by hand."""

import pytest
import torch

from dlmlab.compress import activations, scores, selection
from dlmlab.network import parts
from tests.compress.cases import tiny_calibration
from tests.tiny import one_thread, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
W3 = torch.tensor([[4.0, 0, 1, -1], [3, -2, -1, -3], [-3, 1, 0, 2]])


def test_wanda_and_magnitude_on_a_matrix_worked_out_by_hand():
    norms = torch.tensor([1.0, 2, 8, 3])
    removed = selection.select(scores.wanda_scores(W3, norms), 0.5)
    assert W3.masked_fill(removed, 0).tolist() == [[4, 0, 1, 0], [0, 0, -1, -3], [-3, 0, 0, 2]]
    assert W3.masked_fill(selection.select(W3.abs(), 0.5), 0)[1].tolist() == [3, 0, 0, -3]


def test_the_outlier_ratio_counts_large_scores():
    W = torch.ones(1, 10)
    W[0, 0] = 100
    assert scores.outlier_ratio(W, torch.ones(10)) == pytest.approx(0.1)


def test_the_outlier_ratio_of_a_block_weighs_its_matrices_by_their_size():
    model = tiny_model(n_kv_heads=1)  # keys and values are a quarter as large as queries
    found = activations.collect(model, tiny_calibration())
    with torch.no_grad():
        for name in ("blocks.0.k_proj", "blocks.1.ff_proj"):
            parts.weights(model)[name][:, 0] = 50.0  # a column of outliers
    for layer, ratio in enumerate(scores.outlier_ratios(model, found)):
        above = count = 0
        for name, W in parts.weights(model).items():
            if name.startswith(f"blocks.{layer}."):
                A = W.detach().abs() * found[name].rms.float()
                above, count = above + int((A > 5 * A.mean()).sum()), count + W.numel()
        assert ratio == pytest.approx(above / count, rel=1e-9) and above
