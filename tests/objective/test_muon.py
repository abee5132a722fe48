"""Muon: the algorithm of `torch.optim.Muon` in float32, on stacks of matrices."""

import copy

import pytest
import torch

from dlmlab.objective.muon import Muon, orthogonalize

SHAPES = [(6, 6), (6, 16), (16, 6), (6, 6), (1, 9)]
TORCH = pytest.mark.skipif(
    not hasattr(torch.optim, "Muon"), reason="2026-11-22: torch has Muon from 2.9 on, we allow 2.6"
)


def matrices(seed: int = 0) -> list[torch.nn.Parameter]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in SHAPES]


def drive(optimizer, params, steps: range) -> None:
    """Take steps with gradients that depend on the number of the step alone."""
    for step in steps:
        for p, g in zip(params, matrices(100 + step), strict=True):
            p.grad = g.detach()
        optimizer.param_groups[0]["lr"] = 0.02 / (1 + step)
        optimizer.step()


def torch_muon(params):
    return torch.optim.Muon(params, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")


@TORCH
def test_it_is_torchs_algorithm_without_its_rounding(monkeypatch):
    ours, theirs = matrices(), matrices()
    drive(Muon(ours, 0.02, weight_decay=0.1), ours, range(5))
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)  # all that makes it bfloat16
    drive(torch_muon(theirs), theirs, range(5))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@TORCH
def test_with_torchs_rounding_the_steps_differ_by_a_few_percent():
    start, ours, theirs = matrices(), matrices(), matrices()
    drive(Muon(ours, 0.02, weight_decay=0.1), ours, range(5))
    drive(torch_muon(theirs), theirs, range(5))
    for w, a, b in zip(start, ours, theirs, strict=True):
        assert (a - b).norm() < 0.05 * (a - w).norm()


@pytest.mark.parametrize("shape", [(24, 24), (24, 60), (1, 9)])
def test_orthogonalizing_keeps_the_directions_and_evens_the_singular_values(shape):
    U = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    left, values, right = torch.linalg.svd(U, full_matrices=False)
    inside = left.mT @ orthogonalize(U) @ right.mT  # diagonal when the directions are those of U
    diagonal = inside.diagonal(dim1=1, dim2=2)
    assert (inside - torch.diag_embed(diagonal)).abs().max() < 1e-3
    wide = values > 0.02 * values.amax(1, keepdim=True)  # what is nearly 0 stays small
    assert diagonal[wide].min() > 0.6 and diagonal.max() < 1.3


def test_a_matrix_moves_the_same_alone_and_in_a_stack():
    together, alone = matrices(), matrices()
    drive(Muon(together, 0.02), together, range(3))
    optimizers = [Muon([p], 0.02) for p in alone]
    for i, optimizer in enumerate(optimizers):
        for step in range(3):
            alone[i].grad = matrices(100 + step)[i].detach()
            optimizer.param_groups[0]["lr"] = 0.02 / (1 + step)
            optimizer.step()
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_saved_state_goes_on_exactly(tmp_path):
    whole, first = matrices(), matrices()
    drive(Muon(whole, 0.02), whole, range(6))
    optimizer = Muon(first, 0.02)
    drive(optimizer, first, range(3))
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    second = copy.deepcopy(first)
    again = Muon(second, 0.5)  # the saved rate counts
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    drive(again, second, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))


def test_no_gradient_no_step_and_a_zero_gradient_gives_no_nan():
    params = matrices()
    before = [p.detach().clone() for p in params]
    optimizer = Muon(params, 0.1, weight_decay=0.0)
    optimizer.step()
    params[0].grad = torch.zeros_like(params[0])
    optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))


def test_vectors_are_refused_by_their_shape():
    with pytest.raises(ValueError, match=r"\(5,\)"):
        Muon([torch.nn.Parameter(torch.ones(5))], 0.1)
