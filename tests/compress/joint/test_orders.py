"""The orders of pruning and quantization: zeros stay zeros, one pass repairs most, and where sparsity pays."""

import pytest
import torch

from dlmlab.compress.joint import footprint, orders
from dlmlab.compress.joint.orders import Plan, break_even, sparse_bits
from dlmlab.network.codes import QSpec, Quantized, dequantize
from tests.compress.cases import relative_error, statistics, toy

SPEC = QSpec(4, group=16)


def applied(order: str, sparsity: float = 0.5, **changes) -> tuple[Quantized, float]:
    W, X = toy(n=1024)
    q = orders.apply(W, statistics(X), Plan(SPEC, sparsity, order=order, **changes), None)
    return q, relative_error(W, X, dequantize(q))


def test_every_order_removes_what_was_asked():
    for order in orders.ORDERS:
        zeros = float((dequantize(applied(order)[0]) == 0).double().mean())
        assert 0.5 <= zeros < 0.62, order  # some of the kept round to 0


def test_what_can_repair_more_loses_less():
    loss = {order: applied(order)[1] for order in orders.ORDERS}
    plain = applied("P->Q", prune="wanda", quantize="rtn")[1]
    assert loss["one pass"] < loss["Q->P"] and loss["P->Q"] < loss["Q->P"] and loss["P->Q"] < plain


def test_without_sparsity_all_orders_are_the_quantizer():
    first, *others = (applied(order, 0.0)[0] for order in orders.ORDERS)
    assert all(torch.equal(first.codes, other.codes) for other in others)


def test_without_bits_a_matrix_is_only_pruned():
    W, X = toy(n=512)
    new = orders.apply(W, statistics(X), Plan(None, 0.5), None)
    assert float((new == 0).double().mean()) == 0.5
    assert orders.apply(W, statistics(X), Plan(None), None) is W


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_code_of_zero_is_known(symmetric):
    q = orders._quantize(toy()[0], None, Plan(QSpec(4, symmetric=symmetric, group=16), quantize="rtn"), None)
    zeros = Quantized(orders.zero_codes(q), q.scale, q.zero, q.spec, q.shape)
    assert not dequantize(zeros).any()


def test_break_even_is_where_the_real_bytes_meet():
    W, X = toy(C=128, R=64, n=512)
    spec = QSpec(8, symmetric=True)
    s = break_even(8, 4)
    below, above = (
        footprint.pack(orders.apply(W, statistics(X), Plan(spec, share), None)).nbytes for share in (s - 0.05, s + 0.05)
    )
    scales, four = 2 * 64, W.numel() // 2
    assert above - scales < four < below - scales
    assert sparse_bits(s, 8) == 4
    assert break_even(2, 4) == 0.0
    with pytest.raises(ValueError, match="no sparsity pays"):
        break_even(8, 1)
