"""SPQ stage by stage: what is factorized, what leaves, and bytes that can be counted by hand."""

import pytest
import torch

from dlmlab.compress.joint import spq
from dlmlab.network import parts
from tests.compress.cases import even_heads, seeded, tiny_calibration


def low_rank(R: int, C: int, rank: int) -> torch.Tensor:
    return torch.randn(R, rank, generator=seeded(1)) @ torch.randn(rank, C, generator=seeded(2))


def test_a_rank_is_taken_only_where_factors_are_smaller():
    assert spq.rank_for(low_rank(32, 32, 4)) == 4 or spq.rank_for(low_rank(32, 32, 4)) < 4
    assert spq.rank_for(torch.eye(32)) is None  # 96 % of the energy needs nearly the full rank
    half = torch.diag(torch.cat([torch.ones(16), torch.full((16,), 1e-4)]))
    assert spq.rank_for(half, 0.99) is None  # 16 (32 + 32) numbers are no fewer than 32 * 32


def test_factors_are_the_best_approximation():
    W = torch.randn(12, 10, generator=seeded())
    U, V = spq.factors(W, 3)
    S = torch.linalg.svdvals(W.double())
    assert U.shape == (12, 3) and V.shape == (3, 10)
    assert float((W - U @ V).square().sum()) == pytest.approx(float(S[3:].square().sum()), rel=1e-4)


def test_the_least_active_layer_loses_most():
    assert spq.neuron_shares([2.0, 2.0]) == [0.0, 0.0]
    shares = spq.neuron_shares([5.0, 1.0, 3.0])
    assert shares[1] == 0.05 and shares[0] == 0 and 0 < shares[2] < 0.05


def test_activity_is_the_mean_of_the_up_projection():
    model, calib = even_heads(), tiny_calibration()
    seen = []
    hook = parts.blocks(model)[1].up_proj.register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        model(calib.ids, calib.real)
    hook.remove()
    wanted = seen[0][calib.real].abs().mean(0)
    for size in (4, 64):
        assert torch.allclose(spq.up_activity(model, calib, batch_size=size)[1].float(), wanted, atol=1e-5)


def test_bytes_are_those_of_every_stage():
    model, calib = even_heads(mlp_hidden_size=80), tiny_calibration()
    with torch.no_grad():
        for block in parts.blocks(model):
            block.q_proj.weight.copy_(low_rank(32, 32, 3))
    whole = sum(4 * p.numel() for p in model.parameters())
    stages = spq.spq(model, calib)
    s, p, q = stages["S"], stages["S+P"], stages["S+P+Q"]
    rank = {name: r for name, r in s.ranks.items() if name.endswith("q_proj")}
    assert len(rank) == 2 and all(r <= 3 for r in rank.values())
    assert s.bytes == whole - sum(4 * (32 * 32 - r * 64) for r in s.ranks.values())
    assert s.bytes - p.bytes == sum(p.removed.values()) * 3 * 32 * 4 and sum(p.removed.values()) == 4
    assert q.bytes < 0.5 * p.bytes and q.ranks == s.ranks
    head = parts.ends(q.model)[1].weight
    assert len(head.unique()) <= 255  # one scale for the head
    assert torch.equal(model.pieces.head.weight, parts.ends(s.model)[1].weight)


def test_ranks_are_kept_when_a_trained_model_is_stored_again():
    model = even_heads()
    stored = spq.again(even_heads(), {"blocks.0.q_proj": 2}, {}, quantized=False)
    W = parts.blocks(stored.model)[0].q_proj.weight
    assert int(torch.linalg.matrix_rank(W.double(), rtol=1e-5)) == 2
    assert stored.bytes == sum(4 * p.numel() for p in model.parameters()) - 4 * (32 * 32 - 2 * 64)
