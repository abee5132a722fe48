"""Grids: what a code stands for, how far a weight may move, and what is refused."""

import itertools

import pytest
import torch

from dlmlab.compress.quant.grids import fake_quantize, quantize, round_rows
from dlmlab.network.codes import TERNARY, QSpec, Quantized, cells, dequantize
from tests.compress.quant.helpers import seeded
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")

SPECS = [
    QSpec(bits, symmetric, granularity, group)
    for bits, symmetric, (granularity, group) in itertools.product(
        (1, 2, 3, 4, 8, 12, 16), (False, True), (("tensor", None), ("row", None), ("row", 16), ("token", None))
    )
    if not (symmetric and bits == 1)
]


def matrix(R: int = 48, C: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(R, C, generator=seeded(seed))


def relative(W: torch.Tensor, new: torch.Tensor) -> float:
    return float((W - new).square().sum() / W.square().sum())


def spread(q: Quantized) -> torch.Tensor:
    """The scale of every weight, of the shape of the matrix."""
    return q.scale.float()[..., None].expand(cells(q.codes, q.spec).shape).reshape(q.shape)


def test_a_row_worked_out_by_hand():
    q = quantize(torch.tensor([[-1.0, 0.2, 0.5, 2.0]]), QSpec(2, scale="fp32"))  # s = 1, z = 1
    assert q.scale.tolist() == [[1.0]] and q.zero.tolist() == [[1]]
    assert q.codes.tolist() == [[0, 1, 1, 3]]  # 0.5 lies between two codes: the even one of round(0.5) = 0, plus z
    assert dequantize(q).tolist() == [[-1, 0, 0, 2]]
    q = quantize(torch.tensor([[-3.0, 0.4, 1.5, 2.5]]), QSpec(3, symmetric=True, scale="fp32"))  # s = 1
    assert q.codes.tolist() == [[-3, 0, 2, 2]] and q.zero is None


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_no_weight_moves_by_more_than_half_a_step_and_zero_not_at_all(spec):
    W = matrix()
    W[3, 5], W[7] = 0.0, 0.0
    q = quantize(W, spec).check()
    new = dequantize(q)
    # Half a step, and the rounding of float32 in w / s, which counts at 16 bits.
    assert ((new - W).abs() <= spread(q) * 0.5 + W.abs().max() * 1e-6).all()
    assert new[3, 5] == 0 and (new[7] == 0).all()
    assert torch.equal(fake_quantize(W, spec), new)


@pytest.mark.parametrize("low, high", [(0.5, 1.5), (-1.5, -0.5)])
def test_zero_is_on_the_grid_of_weights_of_one_sign(low, high):
    W = torch.rand(4, 32, generator=seeded()) * (high - low) + low
    W[0, 0] = 0
    q = quantize(W, QSpec(4))
    assert dequantize(q)[0, 0] == 0
    assert q.codes.max() <= 15 and q.codes.min() >= 0
    assert ((dequantize(q) - W).abs() <= spread(q) / 2 + 1e-6).all()


@pytest.mark.parametrize("symmetric, group", [(False, None), (True, None), (False, 32), (True, 16)])
def test_more_bits_are_never_worse_and_16_are_as_good_as_all(symmetric, group):
    W = matrix(96, 128)
    errors = [relative(W, fake_quantize(W, QSpec(b, symmetric, group=group))) for b in range(2, 17)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-8  # property asked for: 1e-4


def test_finer_groups_are_never_worse():
    W = matrix(96, 128)
    specs = [QSpec(3, granularity="tensor"), QSpec(3), *(QSpec(3, group=g) for g in (64, 32, 16, 8))]
    errors = [relative(W, fake_quantize(W, spec)) for spec in specs]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.5 * errors[0]


def test_a_row_and_a_token_are_the_same_cells():
    x = torch.randn(2, 5, 16, generator=seeded())
    assert torch.equal(
        fake_quantize(x, QSpec(4, granularity="token")), fake_quantize(x.view(10, 16), QSpec(4)).view_as(x)
    )
    assert quantize(x, QSpec(4, granularity="token", group=8)).scale.shape == (2, 5, 2)


def test_a_searched_range_has_the_smaller_error_in_every_cell():
    W = matrix()
    cell = [(fake_quantize(W, QSpec(3, True, range=r)) - W).square().sum(1) for r in ("minmax", "mse")]
    assert (cell[1] <= cell[0] + 1e-6).all() and cell[1].sum() < 0.8 * cell[0].sum()


def test_stochastic_rounding_is_right_on_average_and_floor_is_not():
    W = torch.full((1, 20_000), 0.3)
    W[0, 0], W[0, 1] = 0.0, 7.0  # step 1
    means = {}
    for rounding in ("stochastic", "floor", "nearest"):
        new = fake_quantize(W, QSpec(3, rounding=rounding, scale="fp32"), generator=seeded())
        means[rounding] = float(new[0, 2:].mean())
    assert means["stochastic"] == pytest.approx(0.3, abs=0.02)
    assert means["floor"] == 0 and means["nearest"] == 0
    W[0, 2:] = 0.7
    assert float(fake_quantize(W, QSpec(3, rounding="floor", scale="fp32"))[0, 5]) == 0  # nearest would give 1
    again = [fake_quantize(W, QSpec(3, rounding="stochastic"), generator=seeded(5)) for _ in range(2)]
    assert torch.equal(*again)


def test_ternary_takes_the_mean_as_step_and_the_maximum_would_kill_it():
    W = matrix(64, 256)
    q = quantize(W, TERNARY)
    assert set(q.codes.unique().tolist()) == {-1, 0, 1}
    assert q.scale.float()[:, 0] == pytest.approx(W.abs().mean(1), rel=1e-3)
    killed = quantize(W, QSpec(2, symmetric=True))
    assert (q.codes != 0).float().mean() > 0.6 > 0.2 > (killed.codes != 0).float().mean()
    assert relative(W, dequantize(q)) < 0.5 * relative(W, dequantize(killed))


def test_the_scale_in_use_is_the_one_stored_and_never_smaller_than_the_range_asks():
    W = matrix(500, 16)
    q = quantize(W, QSpec(12, symmetric=True))
    assert q.scale.dtype == torch.float16
    assert (q.scale.double() * 2047 >= W.abs().amax(1, keepdim=True).double() * (1 - 1e-7)).all()
    assert relative(W, dequantize(q)) < 1e-6


def test_tiny_and_huge_weights():
    for size in (1e-6, 1e6):
        W = size * matrix()
        assert relative(W, fake_quantize(W, QSpec(8, scale="fp32"))) < 1e-4
    assert bool(fake_quantize(matrix() * 1e-9, QSpec(8)).isfinite().all())
    with pytest.raises(ValueError, match="does not fit fp16"):
        quantize(matrix() * 1e6, QSpec(2))


def test_weights_that_cannot_be_quantized_are_refused():
    with pytest.raises(ValueError, match="group=24 does not divide the 64 columns"):
        quantize(matrix(), QSpec(4, group=24))
    for bad in (float("nan"), float("inf")):
        W = matrix()
        W[1, 2] = bad
        with pytest.raises(ValueError, match="1 of 3072 weights are nan or inf"):
            quantize(W, QSpec(4))
    with pytest.raises(ValueError, match="only floating-point"):
        quantize(torch.ones(2, 2, dtype=torch.long), QSpec(4))
    with pytest.raises(ValueError, match="needs generator="):
        quantize(matrix(), QSpec(4, rounding="stochastic"))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_equation_written_out_gives_the_codes_of_quantize(bits):
    W = torch.cat([matrix(), matrix().abs(), -matrix().abs(), torch.zeros(1, 64)])
    codes, scale, zero = round_rows(W, bits)
    q = quantize(W, QSpec(bits, scale="fp32"))
    assert torch.equal(codes, q.codes) and torch.equal(zero, q.zero) and torch.equal(scale, q.scale)
    assert (scale * (codes - zero))[-1].eq(0).all()
