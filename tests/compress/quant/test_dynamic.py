"""int8 by PyTorch's kernels: the numbers they stand for, columns in floating point, models with some layers in int8."""

import pytest
import torch

from dlmlab.compress import activations
from dlmlab.compress.calibration import token_set
from dlmlab.compress.quant import dynamic
from dlmlab.compress.quant.dynamic import DynamicLinear
from dlmlab.compress.quant.grids import fake_quantize
from dlmlab.compress.quant.int8 import WEIGHT
from dlmlab.measure import lowbit
from dlmlab.network import parts
from tests.tiny import tiny_ids, tiny_model

pytestmark = pytest.mark.skipif(not dynamic.available(), reason="2026-11: no such kernel in this PyTorch")
W = torch.randn(24, 64, generator=torch.Generator().manual_seed(0))
X = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(1))


def rounded(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Lay one grid over all of x, as the kernel says it does: written here once more."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (high - low) / (2**bits - 1)
    zero = round(-low / scale)
    return ((x / scale).round() + zero).clamp(0, 2**bits - 1).sub(zero) * scale


def error(y: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((y - wanted).norm() / wanted.norm())


def test_a_product_is_that_of_rounded_weights_and_inputs():
    y = DynamicLinear(W)(X)
    wanted = rounded(X, 7 if dynamic.sums_may_overflow() else 8) @ fake_quantize(W, WEIGHT).T
    assert y.shape == (3, 5, 24) and error(y, wanted) < 2e-3  # the kernel may round a tie otherwise
    assert 2e-3 < error(y, X @ W.T) < 0.05


def test_a_scale_a_row_is_closer_than_one_for_the_matrix():
    uneven = W * torch.logspace(-2, 1, 24)[:, None]
    one, each = (layer(X)[..., :8] for layer in (lowbit.torch_dynamic(uneven)[0], DynamicLinear(uneven)))
    wanted = (X @ uneven.T)[..., :8]  # the rows of small weights
    assert error(each, wanted) < error(one, wanted) / 4


def test_a_huge_input_spoils_the_others_unless_its_column_stays_in_floating_point():
    x = X.clone()
    x[..., 7] *= 1000
    small = x.clone()
    small[..., 7] = 0
    apart = W.clone()
    apart[:, 7] = 0  # what the huge column adds would hide the error of the others
    wanted = small @ apart.T
    spoiled, kept = DynamicLinear(apart)(x), DynamicLinear(apart, torch.tensor([7]))(x)
    assert error(spoiled, wanted) > 0.3 and error(kept, wanted) < 0.05
    assert error(DynamicLinear(W, torch.tensor([7]))(x), x @ W.T) < 1e-3  # codes would be 4e-3 off


@pytest.mark.parametrize("columns", [[-1], [64], [3, 3], list(range(64))])
def test_columns_that_cannot_stay_are_refused(columns):
    with pytest.raises(ValueError, match="columns"):
        DynamicLinear(W, torch.tensor(columns))


def test_bytes_are_codes_scales_and_float_columns():
    assert DynamicLinear(W).nbytes == 24 * 64 + 24 * 4
    assert DynamicLinear(W, torch.tensor([0, 5])).nbytes == 24 * 62 + 24 * 4 + 24 * 2 * 4


def test_the_columns_whose_inputs_got_largest_are_chosen_the_same_for_all_readers():
    model, ids = tiny_model(), tiny_ids(4, 12)
    statistics = activations.collect(model, token_set(ids, "clean", mask_id=3))
    choose = dynamic.largest(statistics, 1 / 8)
    for name in ("blocks.1.ff_out", "blocks.0.q_proj"):
        size, columns = statistics[name].abs_max, choose(name)
        assert len(columns) == round(len(size) / 8) and float(size[columns].min()) >= float(size.sort().values[-6])
    assert torch.equal(choose("blocks.0.q_proj"), choose("blocks.0.v_proj"))
    assert len(dynamic.largest(statistics, 0)("blocks.0.q_proj")) == 0
    with pytest.raises(ValueError, match="share"):
        dynamic.largest(statistics, 1.0)


def test_only_the_layers_that_were_asked_for_are_rounded():
    model, ids = tiny_model(), tiny_ids()
    some = dynamic.quantized(model, only=lambda name: name.endswith("ff_out"))
    kinds = {name: type(m) for i, b in enumerate(parts.blocks(some)) for name, m in parts.matrices(b).items()}
    assert kinds["ff_out"] is DynamicLinear and kinds["up_proj"] is torch.nn.Linear
    whole = dynamic.quantized(model)
    assert isinstance(whole.get_output_embeddings(), DynamicLinear)
    assert isinstance(model.get_output_embeddings(), torch.nn.Linear)  # the model itself is as it was
    with torch.no_grad():
        dense, few, all_ = (m(ids).logits for m in (model, some, whole))
    assert 0 < error(few, dense) < error(all_, dense) < 0.3
