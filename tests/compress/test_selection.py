"""Selection: exactly so many go, ties by the lower index, and what cannot be asked."""

import math

import pytest
import torch

from dlmlab.compress import selection
from dlmlab.compress.pruning import Recipe
from tests.compress.cases import seeded


@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.3, 0.5, 0.99])
def test_exactly_k_weights_go_even_when_all_tie(sparsity):
    for scores in (torch.zeros(5, 40), torch.rand(5, 40, generator=seeded())):
        assert (selection.select(scores, sparsity).sum(1) == int(40 * sparsity + 1e-9)).all()
        assert selection.select(scores, sparsity, "layer").sum() == int(200 * sparsity + 1e-9)


@pytest.mark.parametrize("pattern", ["row", "layer", "2:4"])
def test_a_sparsity_of_zero_removes_nothing(pattern):
    assert not selection.select(torch.rand(6, 32, generator=seeded()), 0.0, pattern).any()


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


def test_scores_without_an_order_are_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are nan"):
        selection.select(torch.tensor([[1.0, math.nan]]), 0.5)


def test_the_lowest_are_those_of_a_stable_sort_also_among_many_ties():
    g = torch.Generator().manual_seed(0)
    for shape in ((1, 1), (5, 7), (3, 40)):
        for scores in (torch.randn(shape, generator=g), torch.randint(-2, 3, shape, generator=g).float()):
            scores[0, 0], scores[-1, -1] = -torch.inf, torch.inf
            for sparsity in (0.0, 0.3, 0.5, 0.99):
                k = int(shape[1] * sparsity + 1e-9)
                first = scores.argsort(dim=-1, stable=True)[:, :k]
                wanted = torch.zeros(shape, dtype=torch.bool).scatter_(1, first, True)
                assert torch.equal(selection.lowest(scores, sparsity), wanted)
