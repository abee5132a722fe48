"""Packing: every code comes back, the bytes are counted from real tensors, and layers compute the same from them."""

import copy
import dataclasses
import json
import math
import random
import shutil
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from dlmlab.attention import sinks
from dlmlab.compress.quant.grids import fake_quantize, quantize
from dlmlab.compress.registry import compress
from dlmlab.decode.cache import DualCache, PrefixCache
from dlmlab.decode.commit import Threshold
from dlmlab.decode.focus import Focus
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.network import packed as pack
from dlmlab.network import parts
from dlmlab.network.checkpoint import CheckpointError, load, save
from dlmlab.network.codes import TERNARY, QSpec, dequantize
from dlmlab.network.model import LLaDAModelLM
from dlmlab.network.packed import QuantLinear
from tests import damage
from tests.compress.cases import TOKENIZER, reader
from tests.compress.quant.helpers import seeded
from tests.elsewhere import Device, Elsewhere
from tests.tiny import one_thread, tiny_ids, tiny_model

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


@pytest.mark.parametrize("n", [0, 1, 2, 7, 64])
def test_two_nibbles_share_a_byte(n):
    codes = torch.randint(16, (n,), generator=torch.Generator().manual_seed(n), dtype=torch.int32)
    packed = pack.pack_nibbles(codes)
    even, odd = codes[::2].tolist(), [*codes[1::2].tolist(), *[0] * (n % 2)]
    assert packed.dtype == torch.uint8 and packed.tolist() == [a + 16 * b for a, b in zip(even, odd, strict=True)]
    assert torch.equal(pack.unpack_nibbles(packed, n), codes)


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
def test_a_matrix_comes_back_bit_for_bit_and_takes_the_bytes_it_claims(spec, C):
    W = matrix(7, C)
    q = quantize(W, spec)
    packed = pack.pack(q)
    back = pack.unpack(packed)
    assert torch.equal(back.codes, q.codes) and torch.equal(back.scale, q.scale)
    assert torch.equal(pack.weights(packed), dequantize(q)) and torch.equal(dequantize(back), fake_quantize(W, spec))
    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in packed.tensors().items()}
    assert pack.layout((7, C), spec) == expected
    # The bits a grid claims are the bytes it takes; the last bytes of codes and zero points may be half empty.
    assert q.bits * W.numel() / 8 <= packed.nbytes < q.bits * W.numel() / 8 + 2


def test_odd_columns_leave_no_gaps():
    q = quantize(matrix(3, 7), QSpec(4, True))
    assert pack.pack(q).codes.numel() == 11  # 21 nibbles
    assert torch.equal(pack.unpack(pack.pack(q)).codes, q.codes)


def test_damage_is_refused():
    good = pack.pack(quantize(matrix(), QSpec(4, group=16)))
    for name, value, text in (
        ("codes", good.codes[:-1], "576 codes of 4 bits are 288 bytes, got"),
        ("codes", good.codes.int(), "torch.int32"),
        ("scale", good.scale * float("nan"), "damaged scale: 36 of 36 hold nan"),
        ("scale", good.scale * 0, "damaged scale: 36 of 36 hold 0"),
        ("scale", -good.scale, "a negative number"),
        ("scale", good.scale[:3], "do not fit|codes of"),
        ("zero", good.zero[:-1], "36 codes of 4 bits"),
        ("zero", None, "damaged zero point"),
    ):
        with pytest.raises(ValueError, match=text):
            pack.unpack(dataclasses.replace(good, **{name: value}))
    with pytest.raises(ValueError, match="do not fit 4 bits"):
        pack.pack_bits(torch.tensor([16]), 4)
    q = quantize(matrix(), QSpec(4))
    q.scale[0] = 0
    with pytest.raises(ValueError, match="damaged scale"):
        QuantLinear.of(q)


# ------------------------------------------------------------------------------------------------ layers


@pytest.mark.parametrize(
    "spec", [QSpec(4), QSpec(3, True, group=16), QSpec(8), TERNARY, QSpec(2, granularity="tensor")], ids=str
)
def test_the_output_is_that_of_the_fake_quantized_weights(spec):
    W, x = torch.randn(24, 48, generator=seeded()), torch.randn(2, 5, 48, generator=seeded(1))
    layer = QuantLinear.of(quantize(W, spec))
    assert torch.equal(layer(x), F.linear(x, fake_quantize(W, spec)))
    assert layer.nbytes == sum(t.numel() * t.element_size() for t in layer.buffers())
    assert f"bits={spec.bits}" in repr(layer)


def test_the_state_of_a_layer_makes_the_layer_again():
    layer = QuantLinear.of(quantize(torch.randn(8, 16, generator=seeded()), QSpec(3)))
    again = QuantLinear((8, 16), QSpec(3))
    again.load_state_dict(layer.state_dict())
    assert torch.equal(layer.weight, again.weight) and pack.checksum(layer) == pack.checksum(again)
    again.scale[0, 0] *= 2
    assert pack.checksum(layer) != pack.checksum(again)


@pytest.mark.parametrize("scale", ["fp16", "fp32"])
def test_a_cast_of_the_model_is_of_what_is_computed_not_of_what_is_stored(scale):
    layer = QuantLinear.of(quantize(torch.randn(8, 16, generator=seeded()), QSpec(3, scale=scale)))
    half = copy.deepcopy(layer).to(torch.bfloat16)
    assert pack.checksum(half) == pack.checksum(layer) and torch.equal(half.weight, layer.weight)
    x = torch.randn(2, 16, generator=seeded(1)).bfloat16()
    assert torch.equal(half(x), F.linear(x, layer.weight.bfloat16()))


def test_codes_are_unpacked_where_they_are():
    for spec in (QSpec(3), QSpec(4, group=16), QSpec(11), TERNARY):
        layer = QuantLinear.of(quantize(matrix(8, 48), spec))
        with torch.no_grad(), Device():
            away = copy.deepcopy(layer)
            for name, tensor in layer.named_buffers():
                setattr(away, name, tensor.to("meta"))
            assert isinstance(away.weight, Elsewhere) and torch.equal(away.weight.here, layer.weight)


# ------------------------------------------------------------------------------------------------ models


def test_a_model_is_made_with_room_for_what_its_config_describes():
    dense = tiny_model()
    packed = compress(dense, "rtn", lambda name: QSpec(3, group=16) if name == "blocks.1.ff_out" else None, packed=True)
    assert pack.describe(dense) is None and list(pack.describe(packed)) == ["blocks.1.ff_out"]
    packed.config.quantization = pack.describe(packed)
    empty = LLaDAModelLM(packed.config)
    assert dict(pack.layers(empty)).keys() == {"blocks.1.ff_out"}
    assert "hold 0" in pack.damage(empty, packed.config.quantization)[0]
    empty.load_state_dict(packed.state_dict())
    assert pack.damage(empty, packed.config.quantization) == []
    assert torch.equal(empty(tiny_ids()).logits, packed(tiny_ids()).logits)
    assert pack.check_dense(dense) is dense and all(W.is_floating_point() for W in parts.weights(packed).values())
    packed.config.quantization["blocks.1.ff_out"]["group"] = 10
    with pytest.raises(ValueError, match="quantization of blocks.1.ff_out: group=10 does not divide the 48 columns"):
        LLaDAModelLM(packed.config)


# ------------------------------------------------------------------------------------------------ checkpoints


@pytest.fixture(scope="module")
def fake_and_folder(tmp_path_factory):
    """A tiny model with fake-quantized weights of several specs, and the folder of the same model packed."""
    specs = {"q_proj": QSpec(4, group=16), "ff_out": QSpec(3, True), "up_proj": TERNARY, "v_proj": None}
    options, folder = lambda name: specs.get(name.rsplit(".", 1)[1], QSpec(8)), tmp_path_factory.mktemp("packed")
    fake, packed = (compress(reader(), "rtn", options, packed=p) for p in (False, True))
    save(packed, TOKENIZER, folder)
    return fake, folder


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(tiny_ids(vocab=50)).logits


def test_a_packed_folder_is_read_by_load_and_has_the_logits_of_the_fake_quantized_model(fake_and_folder, tmp_path):
    fake, folder = fake_and_folder
    model, tokenizer = load(folder)
    assert torch.equal(logits(model), logits(fake))
    assert len(dict(pack.layers(model))) == 12 and not model.training
    half = load(folder, dtype=torch.bfloat16).model
    assert torch.equal(logits(half), logits(copy.deepcopy(fake).to(torch.bfloat16)))
    tensors = load_file(folder / "model.safetensors")
    assert {t.dtype for name, t in tensors.items() if "codes" in name} == {torch.uint8}
    save(model, tokenizer, tmp_path)  # as it is: what was loaded can be stored again
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    assert load(tmp_path).model.config.quantization == model.config.quantization


def test_a_packed_model_decodes_with_every_loop_as_the_fake_one_does(fake_and_folder):
    fake, folder = fake_and_folder
    model, prompts = load(folder).model, [[5, 6, 7, 8], [9, 10]]
    for cache in (None, PrefixCache(), DualCache()):
        block = None if cache is None else 4
        sampler = Sampler(commit=Threshold(0.05), block_length=block, cache=cache)
        assert (
            sample(model, prompts, gen_length=8, sampler=sampler).answers
            == sample(fake, prompts, gen_length=8, sampler=sampler).answers
        )
    assert torch.equal(sinks.received(model, tiny_ids(vocab=50)), sinks.received(fake, tiny_ids(vocab=50)))
    focus = Sampler(commit=Threshold(0.05), block_length=4, cache=Focus())  # needs three layers
    fake, model = (compress(tiny_model(n_layers=3), "rtn", QSpec(4), packed=p) for p in (False, True))
    assert (
        sample(model, prompts, gen_length=8, sampler=focus, mask_id=0, eos_id=1).answers
        == sample(fake, prompts, gen_length=8, sampler=focus, mask_id=0, eos_id=1).answers
    )


def test_a_dense_folder_says_nothing_is_packed(tmp_path):
    save(reader(), TOKENIZER, tmp_path)
    assert load(tmp_path).model.config.quantization is None and pack.describe(load(tmp_path).model) is None


Q = "blocks.0.q_proj"
SCALE, CODES, ZERO = (f"model.transformer.{Q}.{part}" for part in ("scale", "codes", "zero"))


def changed(folder, tensors=None, config=None):
    """Change a copy of a folder: `tensors(dict)`, `config(dict of the matrix)`."""
    file, text = folder / "model.safetensors", folder / "config.json"
    if tensors:
        found = load_file(file)
        tensors(found)
        save_file(found, file)
    if config:
        values = json.loads(text.read_text(encoding="utf-8"))
        config(values["quantization"])
        text.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    "tensors, config, text",
    [
        (lambda t: t.pop(SCALE), None, f"missing: {SCALE} (32, 2)"),
        (lambda t: t.update({SCALE + "s": t[SCALE].clone()}), None, f"unexpected: {SCALE}s (32, 2)"),
        (lambda t: t.update({CODES: t[CODES][1:]}), None, f"misshapen: {CODES} is (511,), needs (512,)"),
        (lambda t: t.update({SCALE: t[SCALE].float()}), None, f"not packed: {SCALE} is torch.float32"),
        (lambda t: t[SCALE].__setitem__((3, 1), math.nan), None, f"damaged: {Q}: damaged scale: 1 of 64 hold nan"),
        (lambda t: t[SCALE].__setitem__((3, 1), 0.0), None, f"damaged: {Q}: damaged scale: 1 of 64 hold 0"),
        (lambda t: t[SCALE].mul_(2), None, f"damaged: {Q}: its bytes are others than those that were saved"),
        (lambda t: t[CODES].__setitem__(7, 255 - t[CODES][7]), None, f"damaged: {Q}: its bytes are others"),
        (lambda t: t[ZERO].__setitem__(0, 255 - t[ZERO][0]), None, f"damaged: {Q}: its bytes are others"),
        (None, lambda q: q[Q].update(group=32), f"misshapen: {SCALE} is (32, 2), needs (32, 1)"),
        (None, lambda q: q[Q].update(group=12), f"quantization of {Q}: group=12 does not divide the 32 columns"),
        (None, lambda q: q[Q].update(bits=17), f"quantization of {Q}: bits=17 must be a whole number from 1 to 16"),
        (None, lambda q: q[Q].update(bits=0), f"quantization of {Q}: bits=0 must be"),
        (None, lambda q: q[Q].update(bits=3), f"misshapen: {CODES} is (512,), needs (384,)"),
        (None, lambda q: q[Q].update(symmetric=True), f"unexpected: {ZERO}"),
        (None, lambda q: q[Q].update(crc32=5), f"damaged: {Q}: its bytes are others"),
        (None, lambda q: q[Q].update(speed=1), f"quantization of {Q}: needs the keys bits, symmetric"),
        (None, lambda q: q[Q].pop("range"), f"quantization of {Q}: needs the keys bits, symmetric"),
        (None, lambda q: q.pop(Q), f"unexpected: {CODES}"),
        (None, lambda q: q.update({"blocks.2.q_proj": q[Q]}), "of 'blocks.2.q_proj': no matrix of the 2 blocks"),
        (None, lambda q: q.update(wte=q[Q]), "quantization of 'wte': no matrix"),
        (None, lambda q: q.update({Q: 4}), f"quantization of {Q}: needs the keys"),
        (None, lambda q: q.clear(), "needs the packed matrices by name, or null"),
    ],
)  # fmt: skip
def test_a_damaged_packed_checkpoint_is_named(fake_and_folder, tmp_path, tensors, config, text):
    folder = shutil.copytree(fake_and_folder[1], tmp_path / "damaged")
    changed(folder, tensors, config)
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert text in str(error.value)
    assert "\n" not in str(error.value) or "tensors do not fit" in str(error.value)


def test_fifty_kinds_of_damage_give_the_same_logits_or_a_checkpoint_error(fake_and_folder, tmp_path):
    fake, sound = fake_and_folder
    drawn = random.Random(0).sample(sorted(damage.packed(sound, seed=0), key=lambda m: m[:2]), 50)
    expected, refused = logits(fake), Counter()
    folder = shutil.copytree(sound, tmp_path / "damaged")
    for what, name, content in drawn:
        (folder / name).write_bytes(content)
        try:
            assert torch.equal(logits(load(folder).model), expected), what
        except CheckpointError as error:
            refused[name] += 1
            assert "do not fit" in str(error) or "\n" not in str(error), what
        shutil.copy(sound / name, folder / name)
    assert sum(refused.values()) > 35 and len(refused) == 2
