"""RAT+: which keys are read, and what a key remembers."""

import pytest
import torch

from dlmlab.attention import dilated


def test_keys_of_the_last_query():
    counts = {(1, 0): 64, (4, 0): 16, (8, 0): 8, (16, 0): 4, (64, 0): 1, (64, 8): 9}
    assert {key: int(dilated.reads(64, *key)[-1].sum()) for key in counts} == counts


@pytest.mark.parametrize("L, every, window, first", [(1, 1, 0, 0), (10, 3, 0, 0), (17, 4, 2, 3), (5, 9, 0, 1)])
def test_the_mask_is_its_three_rules(L, every, window, first):
    mask = dilated.reads(L, every, window, first)
    for i in range(L):
        for j in range(L):
            assert bool(mask[i, j]) == (j <= i and ((j + 1) % every == 0 or i - j <= window or j < first))
    assert bool(mask.diagonal().all())


def test_no_step_is_refused():
    with pytest.raises(ValueError, match="1 at least"):
        dilated.reads(4, 0)


@pytest.mark.parametrize("L", (1, 2, 5, 16, 33))
def test_smoothing_is_the_loop(L):
    g = torch.Generator().manual_seed(L)
    x, gate = (torch.rand(2, L, 3, generator=g, dtype=torch.float64) for _ in range(2))
    y, wanted = torch.zeros(2, 3, dtype=torch.float64), []
    for t in range(L):
        y = gate[:, t] * y + (1 - gate[:, t]) * x[:, t]
        wanted.append(y)
    assert torch.allclose(dilated.smooth(x, gate), torch.stack(wanted, 1), atol=1e-14)


def test_a_closed_gate_forgets_nothing_in():
    x = torch.randn(1, 9, 4)
    assert torch.equal(dilated.smooth(x, torch.zeros_like(x)), x)
