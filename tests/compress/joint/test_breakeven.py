"""Break-even sparsity: the formula agrees with counted bytes, and what cannot be is refused."""

import pytest
import torch

from dlmlab.compress import storage
from dlmlab.compress.joint.breakeven import break_even_sparsity, sparse_bits


@pytest.mark.parametrize("bits, other, options", [(8, 4.16, {}), (16, 8, {}), (8, 8, {"fixed": 0, "index": 16})])
def test_at_break_even_both_take_the_same_bits(bits, other, options):
    s = break_even_sparsity(bits, other, **options)
    assert 0 < s < 1 and sparse_bits(bits, s, **options) == pytest.approx(other)


def test_the_bits_are_those_of_a_packed_matrix():
    W = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    W[:, ::2] = 0
    assert 8 * storage.pack(W).nbytes / W.numel() == sparse_bits(32, 0.5) == 17


def test_nothing_need_be_pruned_where_the_mask_is_free_and_nothing_helps_where_it_is_too_large():
    assert break_even_sparsity(3, 8) == 0.0 and break_even_sparsity(4, 1) == 1.0
    with pytest.raises(ValueError, match="never 0.5"):
        break_even_sparsity(8, 0.5)
