"""Packing loses nothing and counts real bytes."""

import math

import torch

from dlmlab.compress import pruning, storage
from dlmlab.compress.pruning import Recipe
from tests.compress.cases import seeded
from tests.tiny import tiny_model


def test_packing_loses_nothing_and_counts_real_bytes():
    W = torch.randn(7, 13, generator=seeded())
    W[W.abs() < 0.7] = 0
    packed = storage.pack(W)
    assert torch.equal(storage.unpack(packed), W)
    assert packed.nbytes == 4 * int((W != 0).sum()) + math.ceil(91 / 8)


def test_a_dense_model_is_not_stored_larger_than_dense():
    model = tiny_model()
    dense = sum(p.numel() * 4 for p in model.parameters())
    assert storage.stored_bytes(model) == dense
    assert storage.stored_bytes(pruning.prune(model, Recipe("magnitude", 0.5))) < dense
