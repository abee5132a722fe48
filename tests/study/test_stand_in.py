"""Other weights under the names of the first: what is asked, what is forgotten, what comes back."""

import pytest
import torch

from dlmlab.network import checkpoint
from dlmlab.study import stand_in


def same(one, other) -> bool:
    """Whether two checkpoints hold the same weights."""
    return all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


def test_another_checkpoint_answers_and_the_first_one_comes_back():
    with stand_in.standing_in({"llada-mini": "llada-mini-b"}):
        assert same(stand_in.load("llada-mini"), checkpoint.load("llada-mini-b"))
        with stand_in.standing_in({"llada-mini": "llada-small"}):
            assert stand_in.called("llada-mini") == "llada-small"
        assert stand_in.called("llada-mini") == "llada-mini-b"
    assert same(stand_in.load("llada-mini"), checkpoint.load("llada-mini"))
    assert not same(stand_in.load("llada-mini"), checkpoint.load("llada-mini-b"))


def test_the_first_one_comes_back_after_an_error():
    with pytest.raises(RuntimeError, match="in between"), stand_in.standing_in({"llama-mini": "llama-mini-b"}):
        raise RuntimeError("in between")
    assert stand_in.called("llama-mini") == "llama-mini"
