"""A noised text with the clean one behind it: who sees whom, and what it must equal."""

import pytest
import torch

from dlmlab.network.blockwise import pair_bias
from tests.tiny import one_thread, tiny_ids, tiny_model, tiny_moe

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
both = pytest.mark.parametrize("make", [tiny_model, tiny_moe], ids=["dense", "experts"])
L = 12


def texts(size: int = 4):
    x0 = tiny_ids(2, L)
    xt = torch.where(torch.rand(2, L, generator=torch.Generator().manual_seed(1)) < 0.5, 3, x0)
    return xt, x0


@torch.no_grad()
def logits(model, xt, x0=None):
    return model(xt, clean=x0).logits


@pytest.mark.parametrize("size", [1, 3, 4, 12, 20])
def test_the_mask_is_the_rule_spelled_out(size):
    seen = pair_bias(L, size)[0, 0] == 0
    for i in range(2 * L):
        for j in range(2 * L):
            a, b = i % L // size, j % L // size
            rule = {(0, 0): a == b, (0, 1): a > b, (1, 0): False, (1, 1): a >= b}[(i >= L) * 1, (j >= L) * 1]
            assert bool(seen[i, j]) == rule, (i, j)


@both
def test_each_block_gets_the_logits_it_would_get_when_it_is_decoded(make):
    """Clean blocks before it, itself noised, nothing after it: what a sampler shows a model."""
    model, (xt, x0) = make("block:4"), texts()
    together = logits(model, xt, x0)
    for b in range(3):
        seen = torch.cat([x0[:, : 4 * b], xt[:, 4 * b : 4 * b + 4]], 1)
        torch.testing.assert_close(
            together[:, 4 * b : 4 * b + 4], logits(model, seen)[:, 4 * b :], atol=1e-4, rtol=1e-4
        )
    assert not torch.allclose(together[:, 4:], logits(model, xt)[:, 4:], atol=1e-2)  # the control: noise before it


@both
def test_no_clean_token_reaches_its_own_block_or_an_earlier_one(make):
    """The leak that would make training worthless."""
    model, (xt, x0) = make("block:4"), texts()
    plain = logits(model, xt, x0)
    for changed in range(L):
        other = x0.clone()
        other[:, changed] = (other[:, changed] + 1) % 50
        moved = (logits(model, xt, other) - plain).abs().amax((0, 2)) > 1e-5  # (L,)
        expected = torch.arange(L) // 4 > changed // 4
        assert torch.equal(moved, expected), changed


@both
def test_noise_reaches_its_own_block_alone(make):
    model, (xt, x0) = make("block:4"), texts()
    plain = logits(model, xt, x0)
    for changed in range(L):
        other = xt.clone()
        other[:, changed] = (other[:, changed] + 1) % 50
        moved = (logits(model, other, x0) - plain).abs().amax((0, 2)) > 1e-5
        assert torch.equal(moved, torch.arange(L) // 4 == changed // 4)


def test_a_text_may_be_as_long_as_the_model_reads_and_no_longer():
    model = tiny_model("block:4")
    ids = tiny_ids(1, 32)
    assert logits(model, ids, ids).shape == (1, 32, 50)
    with pytest.raises(ValueError, match="length 33 is outside"):
        logits(model, tiny_ids(1, 33), tiny_ids(1, 33))


def test_what_a_clean_text_does_not_go_with_is_refused():
    model, (xt, x0) = tiny_model("block:4"), texts()
    with pytest.raises(ValueError, match="attention='full'"):
        logits(tiny_model(), xt, x0)
    with pytest.raises(ValueError, match="clean has shape"):
        logits(model, xt, x0[:, 1:])
    for options in ({"attention_mask": torch.ones_like(xt)}, {"logits_to_keep": 3}):
        with pytest.raises(ValueError, match="clean= goes with ids alone"):
            model(xt, clean=x0, **options)
