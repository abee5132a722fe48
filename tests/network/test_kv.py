"""The cache of keys and values: what is appended, replaced, forgotten, and whose tensors they are."""

import pytest
import torch

from dlmlab.network.kv import KV, write_at
from tests.network.test_model import close, logits
from tests.tiny import one_thread, tiny_ids, tiny_model  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")
B, H, D = 2, 3, 4


def pair(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw keys and values of `n` positions."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(B, H, n, D, generator=generator), torch.rand(B, H, n, D, generator=generator)


def filled(*lengths: int) -> KV:
    """Make a cache of two layers, appended to in pieces of these lengths."""
    kv = KV()
    for i, n in enumerate(lengths):
        for layer in (0, 1):
            kv.append(layer, *pair(n, seed=10 * i + layer))
    return kv


def test_pieces_stand_behind_each_other_in_every_layer():
    kv = filled(5, 2)
    assert len(KV()) == 0 and len(kv) == 7
    for layer, (k, v) in enumerate(kv.layers):
        parts = [pair(n, seed=10 * i + layer) for i, n in enumerate((5, 2))]
        assert torch.equal(k, torch.cat([p[0] for p in parts], 2)) and torch.equal(
            v, torch.cat([p[1] for p in parts], 2)
        )
    assert kv.nbytes == 2 * 2 * B * H * 7 * D * 4  # layers, keys and values, float32


def test_rows_may_be_written_at_positions_of_their_own():
    stored, new = pair(6)[0], pair(2, seed=1)[0]
    for positions in (torch.tensor([[4, 1], [0, 5]]), torch.tensor([[3, 2]])):
        wanted = stored.clone()
        for b in range(B):
            for i in range(2):
                wanted[b, :, positions[b % len(positions), i]] = new[b, :, i]
        out = stored.clone()
        write_at(out, new, positions)
        assert torch.equal(out, wanted)


def test_writing_replaces_keys_and_values_of_one_layer_in_place():
    kv, (k, v) = filled(6), pair(2, seed=5)
    before = [x.clone() for x in kv.layers[1]]
    keys, values = kv.write(0, k, v, torch.tensor([[1, 4]]))
    assert torch.equal(keys[:, :, [1, 4]], k) and torch.equal(values[:, :, [1, 4]], v)
    assert keys is kv.layers[0][0] and all(torch.equal(a, b) for a, b in zip(before, kv.layers[1], strict=True))


def test_a_copy_goes_its_own_way_through_truncation_and_selection():
    kv = filled(6)
    kv.valid = torch.ones(B, 6, dtype=torch.bool)
    twin = kv.copy()
    twin.truncate(3).select(torch.tensor([1]))
    assert len(kv) == 6 and kv.valid.shape == (B, 6) and kv.layers[0][0].shape[0] == B
    assert len(twin) == 3 and twin.valid.shape == (1, 3)


def test_a_truncated_cache_has_forgotten_what_came_after():
    model, ids, kv = tiny_model("causal"), tiny_ids(), KV()
    logits(model, torch.cat([ids[:, :7], tiny_ids(2, 5, seed=9)], 1), kv=kv)
    assert close(logits(model, ids[:, 7:], kv=kv.truncate(7)), logits(model, ids)[:, 7:])


def test_selected_rows_of_a_cache_go_on_alone():
    model, ids, kv = tiny_model("causal"), tiny_ids(3), KV()
    logits(model, ids[:, :7], kv=kv)
    rows = torch.tensor([2, 0])
    assert close(logits(model, ids[rows, 7:], kv=kv.select(rows)), logits(model, ids)[rows, 7:])


def test_a_cache_remembers_the_padding_through_truncation_and_selection():
    model, ids, kv = tiny_model("causal"), tiny_ids(3), KV()
    mask = (torch.arange(12) >= torch.tensor([[0], [2], [4]])).long()
    whole = logits(model, ids, mask)
    logits(model, ids[:, :9], mask[:, :9], kv=kv)
    rows = torch.tensor([2, 1])
    kv.truncate(7).select(rows)
    steps = [logits(model, ids[rows, i : i + 1], kv=kv) for i in range(7, 12)]
    assert close(torch.cat(steps, 1), whole[rows, 7:])
