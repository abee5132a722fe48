"""Packing: every code comes back, the bytes are counted from real tensors, damage is refused."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from dlmlab.compress.quant import pack
from dlmlab.compress.quant.grids import TERNARY, QSpec, dequantize, fake_quantize, quantize
from tests.compress.quant.helpers import seeded
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def matrix(R: int = 12, C: int = 48) -> torch.Tensor:
    return torch.randn(R, C, generator=seeded())


@pytest.mark.parametrize("bits", range(1, 17))
def test_all_codes_come_back_whatever_their_number(bits):
    top = 2**bits
    for n in (0, 1, 2, 7, 8, 9, 63, 200):
        codes = torch.cat([torch.tensor([0, top - 1, 1])[:n], torch.randint(top, (max(n - 3, 0),), generator=seeded())])
        packed = pack.pack_bits(codes, bits)
        assert packed.dtype == torch.uint8 and len(packed) == -(-n * bits // 8)
        assert torch.equal(pack.unpack_bits(packed, bits, n).long(), codes)


def test_nibbles_lie_as_published():
    codes = torch.arange(16).view(2, 8)
    expected = codes[:, 0::2] | (codes[:, 1::2] << 4)
    assert torch.equal(pack.pack_bits(codes, 4).long(), expected.flatten())
    assert torch.equal(pack.unpack_bits(expected.flatten().to(torch.uint8), 4, 16).long(), codes.flatten())


def test_three_levels_take_eight_fifths_of_a_bit():
    for n in (0, 1, 5, 6, 243):
        codes = torch.randint(3, (n,), generator=seeded())
        packed = pack.pack_trits(codes)
        assert len(packed) == -(-n // 5) and torch.equal(pack.unpack_trits(packed, n).long(), codes)
    with pytest.raises(ValueError, match="below 243"):
        pack.unpack_trits(torch.tensor([243], dtype=torch.uint8), 5)


SPECS = [
    *(QSpec(bits, symmetric) for bits in (2, 3, 4, 8, 11, 16) for symmetric in (False, True)),
    QSpec(1),
    QSpec(4, group=16),
    QSpec(3, True, group=24),
    QSpec(4, granularity="tensor", scale="fp32"),
    TERNARY,
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("C", [48, 240])
def test_a_matrix_comes_back_bit_for_bit_from_a_file(spec, C, tmp_path):
    W = matrix(7, C)
    q = quantize(W, spec)
    packed = pack.pack(q)
    save_file(packed.tensors("m."), tmp_path / "m.safetensors")
    again = pack.Packed.read(load_file(tmp_path / "m.safetensors"), packed.describe(), "m.")
    back = pack.unpack(again)
    assert torch.equal(back.codes, q.codes) and torch.equal(back.scale, q.scale)
    assert torch.equal(pack.weights(again), dequantize(q)) and torch.equal(dequantize(back), fake_quantize(W, spec))
    # The bits a grid claims are the bytes it takes; the last bytes of codes and zero points may be half empty.
    assert q.bits * W.numel() / 8 <= packed.nbytes < q.bits * W.numel() / 8 + 2


def test_odd_columns_leave_no_gaps():
    q = quantize(matrix(3, 7), QSpec(4, True))
    assert pack.pack(q).codes.numel() == 11  # 21 nibbles
    assert torch.equal(pack.unpack(pack.pack(q)).codes, q.codes)


@pytest.mark.parametrize("symmetric, group", [(False, None), (False, 16), (True, 16)])
def test_nested_weights_are_the_4_bit_grid_and_nearly_the_8_bit_one(symmetric, group):
    W = torch.randn(64, 192, generator=seeded())
    spec = QSpec(4, symmetric, group=group)
    nested = pack.nest(W, spec)
    assert torch.equal(nested.at(4), fake_quantize(W, spec))
    scale = quantize(W, spec).scale.float().repeat_interleave(group or 192, 1)
    error = (nested.at(8) - W).abs()
    assert (error <= scale / 16 * 1.001).all() and float((error <= scale / 32 * 1.001).float().mean()) > 0.95
    coarse, fine, eight = (
        float((new - W).square().mean())
        for new in (nested.at(4), nested.at(8), fake_quantize(W, QSpec(8, symmetric, group=group)))
    )
    assert fine < coarse / 150 and fine < 2 * eight
    assert nested.nbytes == pack.pack(quantize(W, spec)).nbytes + W.numel() // 2
    with pytest.raises(ValueError, match="bits=6"):
        nested.at(6)
    with pytest.raises(ValueError, match="begin with 4 bits"):
        pack.nest(W, QSpec(3))


def test_damage_is_refused():
    packed = pack.pack(quantize(matrix(), QSpec(4, group=16)))
    tensors, description = packed.tensors(), packed.describe()
    for name, value, text in (
        ("codes", tensors["codes"][:-1], "576 codes of 4 bits are 288 bytes, got"),
        ("codes", tensors["codes"].int(), "torch.int32"),
        ("scale", tensors["scale"].float(), "the spec says fp16"),
        ("scale", tensors["scale"] * float("nan"), "damaged scale: 36 of 36 hold nan"),
        ("scale", tensors["scale"] * 0, "damaged scale: 36 of 36 hold 0"),
        ("scale", -tensors["scale"], "a negative number"),
        ("scale", tensors["scale"][:3], "do not fit|codes of"),
        ("zero", tensors["zero"][:-1], "36 codes of 4 bits"),
    ):
        with pytest.raises(ValueError, match=text):
            pack.Packed.read(tensors | {name: value}, description)
    for changes, text in (({"bits": 17}, "1 to 16"), ({"bits": 8}, "codes of 8 bits"), ({"speed": 1}, "unknown")):
        with pytest.raises(ValueError, match=text):
            pack.Packed.read(tensors, description | changes)
    with pytest.raises(ValueError, match="'codes' is missing"):
        pack.Packed.read({"scale": tensors["scale"]}, description)
    with pytest.raises(ValueError, match="damaged zero point"):
        pack.Packed.read({k: v for k, v in tensors.items() if k != "zero"}, description)
    with pytest.raises(ValueError, match="do not fit 4 bits"):
        pack.pack_bits(torch.tensor([16]), 4)
    q = quantize(matrix(), QSpec(4))
    q.scale[0] = 0
    with pytest.raises(ValueError, match="damaged scale"):
        pack.pack(q)
