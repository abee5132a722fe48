"""Linear attention: three forms of one function, from one side and from both."""

import pytest
import torch

from dlmlab.attention import linear

SHAPES = [(1, 4, 4, 1), (7, 4, 3, 3), (33, 8, 8, 8), (64, 2, 5, 100)]  # L, d, e, chunk


def drawn(L, d, e):
    g = torch.Generator().manual_seed(L)
    return tuple(torch.randn(2, 3, L, n, generator=g, dtype=torch.float64) for n in (d, d, e))


def off(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("decay", (1.0, 0.9, 0.01, 0.0))
@pytest.mark.parametrize("L, d, e, size", SHAPES)
def test_matrix_recurrence_and_chunks_are_one_function(L, d, e, size, decay):
    q, k, v = drawn(L, d, e)
    whole = linear.matrix(q, k, v, decay)
    assert off(linear.recurrent(q, k, v, decay), whole) < 1e-12
    assert off(linear.chunked(q, k, v, decay, size), whole) < 1e-12


@pytest.mark.parametrize("decay", (1.0, 0.9, 0.01, 0.0))
@pytest.mark.parametrize("L, d, e, size", SHAPES)
def test_two_scans_less_the_token_itself_are_the_matrix_of_both_sides(L, d, e, size, decay):
    q, k, v = drawn(L, d, e)
    assert off(linear.both_sides(q, k, v, decay, size=size), linear.matrix(q, k, v, decay, causal=False)) < 1e-12


def test_values_worked_by_hand():
    q, k = torch.tensor([[1.0, 0], [1, 1], [0, 1]]), torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    v = torch.tensor([[1.0], [2], [3]])
    assert linear.recurrent(q, k, v).flatten().tolist() == [1, 3, 5]
    assert linear.chunked(q, k, v, 0.5, 2).flatten().tolist() == [1, 2.5, 4]
    assert linear.both_sides(q, k, v, 0.5).flatten().tolist() == [1.75, 5.5, 4]


def test_without_memory_a_token_reads_itself():
    q, k, v = drawn(9, 4, 4)
    assert off(linear.both_sides(q, k, v, 0.0), (q * k).sum(-1, keepdim=True) * v) < 1e-12


def test_normalised_rows_are_averages():
    q, k, v = drawn(20, 4, 3)
    assert torch.allclose(linear.normalised(q, k, torch.ones_like(v)), torch.ones_like(v))
    mixed = linear.normalised(q, k, v)
    assert bool((mixed <= v.amax(-2, keepdim=True)).all() & (mixed >= v.amin(-2, keepdim=True)).all())


def test_the_matrix_of_a_head_has_no_more_rank_than_its_width():
    q, k, v = drawn(40, 4, 40)
    v = torch.eye(40, dtype=torch.float64)
    assert torch.linalg.matrix_rank(linear.both_sides(q[0, 0], k[0, 0], v)) == 4


def test_slopes():
    assert linear.slopes(4) == [0.25, 0.0625, 0.015625, 0.00390625]
    assert linear.slopes(16)[0] == pytest.approx(0.707107, abs=1e-6) and len(linear.slopes(16)) == 16


def test_multiply_adds_count_pairs_and_states():
    assert linear.multiply_adds("causal", 64, 32) == 2 * 32 * sum(range(1, 65))
    assert linear.multiply_adds("chunks", 70, 32, 64) == 2 * 32 * (64 * 65 // 2 + 6 * 7 // 2) + 2 * 70 * 32 * 32
    with pytest.raises(ValueError, match="known: softmax"):
        linear.multiply_adds("magic", 4, 4)


def test_a_chunk_has_a_token():
    with pytest.raises(ValueError, match="at least one"):
        linear.chunked(*drawn(4, 2, 2), size=0)
