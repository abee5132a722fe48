"""Bytes are those of arrays that hold the matrix: what is packed can be unpacked."""

import pytest
import torch
from torch import nn

from dlmlab.compress.joint import footprint
from dlmlab.compress.joint.footprint import Weight
from dlmlab.compress.joint.orders import Plan, apply
from dlmlab.network import parts
from dlmlab.network.codes import QSpec
from dlmlab.network.packed import QuantLinear
from tests.compress.cases import statistics, toy
from tests.compress.joint.cases import OPTIONS, assembly


def quantized(sparsity: float, pattern: str = "row", bits: int = 3, symmetric: bool = False):
    W, X = toy(n=512)
    return apply(W, statistics(X), Plan(QSpec(bits, symmetric=symmetric, group=16), sparsity, pattern), None)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_sparse_codes_come_back(bits, symmetric):
    for q in (quantized(0.5, bits=bits, symmetric=symmetric), quantized(0.5, "2:4", bits, symmetric)):
        assert torch.equal(footprint.unpack(footprint.pack(q)), q.codes)
    assert torch.equal(footprint.unpack(footprint.pack_n_of_m(q)), q.codes)


def test_a_bitmask_costs_one_bit_and_two_of_four_costs_four_bits_for_two():
    q = quantized(0.5, "2:4", 4)
    n, grid = q.codes.numel(), 24 * 4 * 2 + 24 * 4 // 2
    assert footprint.pack_n_of_m(q).nbytes == n // 2 * 6 // 8 + grid
    kept = int((footprint.unpack(footprint.pack(q)) != footprint.zero_codes(q)).sum())
    assert footprint.pack(q).nbytes == -(-kept * 4 // 8) + n // 8 + grid


def test_more_than_fits_is_refused():
    with pytest.raises(ValueError, match="only 2 can be stored"):
        footprint.pack_n_of_m(quantized(0.0))


def test_the_shortest_format_counts():
    dense, sparse = QuantLinear.of(quantized(0.0, bits=8)), QuantLinear.of(quantized(0.75, bits=8))
    assert footprint.weigh(dense).bytes == dense.nbytes < footprint.formats(dense)["bitmask"]
    assert footprint.weigh(sparse).bytes == footprint.formats(sparse)["bitmask"] < sparse.nbytes
    plain = nn.Linear(8, 4, bias=False)
    assert footprint.weigh(plain) == Weight(128, 32, 1024.0)


def test_zeros_and_bits_count_in_the_energy_and_not_in_the_multiplications():
    q = quantized(0.5, bits=4)
    found = footprint.weigh(QuantLinear.of(q))
    assert found.macs == q.codes.numel() and found.energy < 4 * found.macs / 2 + 1


def test_a_dense_model_weighs_its_parameters():
    model = assembly().dense
    assert footprint.weigh_model(model).bytes == sum(4 * p.numel() for p in model.parameters())
    assert footprint.outside(model) > 0


def test_a_choice_weighs_what_its_model_weighs():
    parts_ = assembly()
    for option in OPTIONS:
        choice = {"blocks.1": option}
        packed = parts_.model(choice, packed=True)
        assert parts_.weigh(choice) == footprint.weigh_model(packed), str(option)
    assert parts.shape(parts.blocks(parts_.model({"blocks.0": OPTIONS[-3]}))[0]) == (4, 24)
