"""Blocks of llama.cpp: ours are those of its own package, bit for bit, where that is installed."""

import importlib.util

import pytest
import torch

from dlmlab.compress.quant import ggml

WRITTEN = ("Q8_0", "Q4_0", "Q4_1")
needs_gguf = pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="gguf is not installed")  # 2026-11


def weights(rows: int = 6, columns: int = 96) -> torch.Tensor:
    W = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    W[1, :32] = 0
    W[2, :4] = torch.tensor([9.0, -9.0, 0.0, 4.5])
    return W


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_kind_takes_the_bytes_it_says_and_comes_back_near(kind):
    W = weights()
    data = ggml.encode(W, kind)
    assert data.dtype == torch.uint8 and data.shape == (6, 96 * ggml.bits(kind) / 8)
    new = ggml.decode(data, kind)
    assert new.shape == W.shape and not bool(new[1, :32].any())
    step = W.unflatten(1, (-1, 32)).abs().amax(-1).repeat_interleave(32, 1) / (127 if kind == "Q8_0" else 7)
    assert bool(((new - W).abs() <= 1.1 * step).all())
    assert torch.equal(ggml.decode(ggml.encode(new, kind), kind), new) or kind == "Q4_1"


def test_the_entry_of_largest_size_is_met_exactly_and_its_opposite_is_clipped():
    new = ggml.decode(ggml.encode(weights(), "Q4_0"), "Q4_0")
    assert new[2, 0] == 9.0 and new[2, 1] == -9.0 * 7 / 8
    d, codes = ggml.q4_0(ggml.blocks(weights()))
    assert int(codes.min()) == 0 and int(codes.max()) == 15 and d.dtype == torch.float16


def test_a_block_of_q4_0_has_the_bytes_of_the_formula_of_gguf():
    w = ((7 * torch.arange(32) % 32 - 12) / 10)[None]
    known = "9ab36d3a07b4815c29d6a3704b18b5825c39"  # by `quantize_blocks` of gguf-py/gguf/quants.py, on numpy
    assert bytes(ggml.encode(w, "Q4_0").flatten().tolist()).hex() == known


def test_rows_of_broken_blocks_are_refused():
    for W, kind in ((torch.zeros(2, 33), "Q4_0"), (torch.zeros(2, 64), "Q2_K")):
        with pytest.raises(ValueError):
            ggml.encode(W, kind)
    with pytest.raises(ValueError, match="known"):
        ggml.bits("Q9")
    with pytest.raises(ValueError, match="not read"):
        ggml.decode(torch.zeros(2, 84, dtype=torch.uint8), "Q2_K")


@needs_gguf
@pytest.mark.parametrize("kind", (*WRITTEN, "BF16"))
def test_the_bytes_are_those_of_the_package(kind):
    import gguf

    W = torch.cat([weights(), 1e-6 * weights(), 300 * weights()])
    theirs = gguf.quants.quantize(W.numpy(), getattr(gguf.GGMLQuantizationType, kind))
    assert (ggml.encode(W, kind).numpy() == theirs).all()


@needs_gguf
def test_bits_are_those_of_the_package():
    import gguf

    for kind, (weights, size) in ggml.BYTES.items():
        assert gguf.GGML_QUANT_SIZES[getattr(gguf.GGMLQuantizationType, kind)] == (weights, size)
