"""Positions that are dropped, as a circulating summary of a paper tells it."""

import pytest
import torch

from dlmlab.attention import positions
from tests.compress.cases import even_heads, logits, seeded
from tests.tiny import one_thread, tiny_ids

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_told_variance_is_largest_where_nothing_ever_wins():
    sums = torch.zeros(2, 1, 2, 5)
    sums[..., 1] = 3.0
    sums[1, 0, 1, 4] = 9.0
    assert positions.circulating_variance(sums).tolist() == [1, 0.25, 1, 1, 0.75]
    assert positions.drop_as_told(sums, 0.5).tolist() == [True, False, True, True, True]
    assert positions.drop_least_attended(sums, 3).tolist() == [True, False, True, True, False]
    assert positions.drop_random(5, 2, seeded()).sum() == 2
    with pytest.raises(ValueError, match="threshold=2"):
        positions.drop_as_told(sums, 2)


def test_a_dropped_position_is_seen_by_no_other():
    dense, ids = even_heads(), tiny_ids(1, 8)
    dropped = torch.zeros(8, dtype=torch.bool)
    dropped[2] = True
    without, other = positions.Without(dense, dropped), ids.clone()
    other[0, 2] = (ids[0, 2] + 1) % 50
    a, b = logits(without, ids), logits(without, other)
    assert torch.allclose(a[0, [0, 1, 3, 7]], b[0, [0, 1, 3, 7]], atol=1e-5)
    nothing = logits(positions.Without(dense, ~dropped & dropped), ids)
    assert torch.allclose(nothing, logits(dense, ids), atol=1e-5)
    with pytest.raises(ValueError, match="the text has 4"):
        without(ids[:, :4])
