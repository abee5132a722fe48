"""A whole model: fake and packed give the same logits, what is chosen is quantized and nothing else."""

from dataclasses import replace

import pytest
import torch

from dlmlab import cli
from dlmlab.compress import activations, calibration, methods, pruning, recovery, registry
from dlmlab.compress.quant import awq, gptq, qat, quantize, rotation, smooth
from dlmlab.compress.quant.grids import fake_quantize
from dlmlab.compress.quant.grids import quantize as quantize_matrix
from dlmlab.compress.quant.rtn import output_error, rtn
from dlmlab.compress.registry import Method, Program, compress, register
from dlmlab.compress.storage import bits_of, model_bytes
from dlmlab.decode.sampling import sample
from dlmlab.network import checkpoint, parts
from dlmlab.network import packed as storage
from dlmlab.network.checkpoint import load
from dlmlab.network.codes import QSpec, dequantize
from dlmlab.network.packed import QuantLinear
from tests.compress.cases import PROBLEMS, TOKENIZER, reader, weights_of
from tests.compress.quant.helpers import seeded, tiny_calibration
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def blocks(model):
    return model.model.transformer["blocks"]


@pytest.mark.parametrize("spec", [QSpec(4), QSpec(3, True)])
@pytest.mark.parametrize(
    "name, options", [("rtn", None), ("gptq", None), ("gptq", {"act_order": True}), ("clip", None)]
)
def test_packed_and_fake_models_have_the_same_logits(name, options, spec):
    model, calib = tiny_model(), tiny_calibration()
    chosen = gptq.Options(spec, **options) if options else spec
    fake, packed = (compress(model, name, chosen, calib=calib, packed=p) for p in (False, True))
    assert torch.equal(fake(tiny_ids()).logits, packed(tiny_ids()).logits)
    assert not torch.equal(fake(tiny_ids()).logits, model(tiny_ids()).logits)
    assert model_bytes(packed) < model_bytes(fake) == model_bytes(model)
    assert len(dict(storage.layers(packed))) == 14


def test_only_what_is_chosen_changes():
    model = tiny_model()
    out = compress(model, "rtn", lambda name: QSpec(2) if name == "blocks.1.ff_out" else None)
    for name, old in model.named_parameters():
        changed = name == "model.transformer.blocks.1.ff_out.weight"
        assert torch.equal(out.get_parameter(name), old) != changed
    W = blocks(model)[1].ff_out.weight.detach()
    assert torch.equal(blocks(out)[1].ff_out.weight, fake_quantize(W, QSpec(2)))


def test_bits_are_those_of_the_storage():
    model = tiny_model()
    packed = compress(model, "rtn", QSpec(4, group=16), packed=True)
    assert bits_of(packed) == pytest.approx(4 + 20 / 16)
    assert bits_of(model) == 32
    half = compress(model, "rtn", lambda name: QSpec(4, group=16) if "proj" in name else None, packed=True)
    assert 4 + 20 / 16 < bits_of(half) < 32


def test_layers_in_order_see_the_errors_before_them():
    """The second layer is repaired on the inputs of the rounded first one, not on the dense ones."""
    model, calib = tiny_model(), tiny_calibration()
    ordered = compress(model, "gptq", QSpec(2), calib=calib)
    found = activations.collect(model, calib, gram=True)
    dense = compress(model, "gptq", QSpec(2), statistics=found, sequential=False)
    assert torch.equal(blocks(ordered)[0].q_proj.weight, blocks(dense)[0].q_proj.weight)
    assert not torch.equal(blocks(ordered)[1].q_proj.weight, blocks(dense)[1].q_proj.weight)
    found = activations.collect(ordered, calib, gram=True)["blocks.1.q_proj"]
    W = blocks(model)[1].q_proj.weight.detach()
    expected = gptq.gptq(W, found, QSpec(2))
    assert torch.allclose(blocks(ordered)[1].q_proj.weight, dequantize(expected), atol=1e-3)


def test_a_rotated_model_keeps_its_rotation_when_packed():
    model = rotation.rotate(tiny_model(), seeded())
    fake, packed = (compress(model, "rtn", QSpec(8), packed=p) for p in (False, True))
    assert torch.equal(fake(tiny_ids()).logits, packed(tiny_ids()).logits)
    assert (packed(tiny_ids()).logits - tiny_model()(tiny_ids()).logits).abs().max() < 1.0
    assert isinstance(blocks(packed)[0].ff_out, QuantLinear) and blocks(packed)[0].ff_out._forward_pre_hooks


def test_errors_name_the_matrix():
    with pytest.raises(ValueError, match="blocks.0.q_proj: group=24 does not divide the 32 columns"):
        compress(tiny_model(), "rtn", QSpec(4, group=24))
    with pytest.raises(ValueError, match="needs calib="):
        compress(tiny_model(), "gptq", QSpec(4))
    with pytest.raises(
        ValueError, match="blocks.0.q_proj: ternary has the codes -1, 0 and 1, these options have 0..15"
    ):
        compress(tiny_model(), "ternary", QSpec(4))


@pytest.fixture(scope="module")
def mini():
    """LLaDA-mini with the second moments of 8 noised problems."""
    model, tokenizer = load("llada-mini")
    calib = calibration.calibration_set(tokenizer, calibration.calibration_problems(8), generator=seeded())
    return model, tokenizer, activations.collect(model, calib, gram=True)


@pytest.mark.parametrize("bits", [4, 3])
def test_gptq_and_awq_are_not_worse_than_rounding_on_real_matrices(mini, bits):
    model, _, found = mini
    for layer in (0, 5):
        for name in ("q_proj", "attn_out"):
            W = getattr(blocks(model)[layer], name).weight.detach()
            statistics, spec = found[f"blocks.{layer}.{name}"], QSpec(bits, group=64)
            plain = output_error(W, dequantize(rtn(W, None, spec)), statistics.gram)
            ours = output_error(W, dequantize(gptq.gptq(W, statistics, spec)), statistics.gram)
            assert ours < 0.9 * plain, (layer, name)
            assert min(awq.search(W, statistics, spec).errors) <= plain


def test_llada_mini_folded_by_awq_and_smoothquant_is_llada_mini(mini):
    model, _, found = mini
    ids = tiny_ids(2, 60, vocab=333)
    with torch.no_grad():
        for new, _ in (awq.awq(model, found, QSpec(4), sites=("q_proj",)), smooth.smooth(model, found)):
            assert (new(ids).logits - model(ids).logits).abs().max() < 1e-4


def test_a_packed_llada_mini_writes_what_the_fake_one_writes(mini):
    model, tokenizer, _ = mini
    fake, packed = (compress(model, "rtn", QSpec(3, group=64), packed=p) for p in (False, True))
    prompts = [tokenizer("Tom has 3 apples.")["input_ids"]] * 2
    assert sample(fake, prompts, gen_length=8).answers == sample(packed, prompts, gen_length=8).answers
    assert {name for names in parts.READERS for name in names} == {
        name.rsplit(".", 1)[1] for name, _ in storage.layers(packed)
    }


# ------------------------------------------------------------------------------------------------ by name

NAMES = quantize.names()
TEXTS = methods.Texts(TOKENIZER, PROBLEMS[:3])


@pytest.mark.parametrize("name", NAMES)
def test_every_named_quantizer_gives_a_packed_model_with_the_logits_of_the_fake_one(name):
    model, ids = reader(), tiny_ids(vocab=50)
    given = {"group": 16} if name != "ternary" else {}
    fake, packed = (quantize.apply(model, name, texts=TEXTS, packed=p, **given) for p in (False, True))
    assert torch.equal(fake(ids).logits, packed(ids).logits)
    assert bits_of(fake) == 32 and bits_of(packed) < 5.5 and len(dict(storage.layers(packed))) == 14
    size = (fake(ids).logits - model(ids).logits).norm() / model(ids).logits.norm()
    assert 0 < size < (1.5 if name == "ternary" else 0.6)
    assert not dict(storage.layers(model))  # a copy was quantized


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ternary"])
def test_at_sixteen_bits_every_quantizer_gives_the_model_back(name):
    """What is folded or rotated before is folded right; only programs touch more than the matrices of the blocks."""
    model, ids = reader(), tiny_ids(vocab=50)
    out = quantize.apply(model, name, texts=TEXTS, bits=16)
    assert (out(ids).logits - model(ids).logits).abs().max() < 0.02
    rest = {key for key, _ in model.named_parameters() if key not in inside(model)}
    changed = any(not torch.equal(out.get_parameter(key), model.get_parameter(key)) for key in rest)
    assert changed == isinstance(quantize.quantizer(name), Program)


def inside(model) -> set[str]:
    return {f"model.transformer.{name}.weight" for name in parts.weights(model)}


@pytest.mark.parametrize("act_order", [False, True])
def test_the_walk_gives_each_matrix_what_its_own_layer_sees(act_order):
    """Against a loop of one's own: the statistics of a layer come from the quantized layers before it."""
    model, calib = tiny_model(), tiny_calibration()
    options = gptq.Options(QSpec(3, group=16), act_order, static=act_order)
    ours, literal = compress(model, "gptq", options, calib=calib), tiny_model()
    with torch.no_grad():
        for layer, found in activations.walk(literal, calib, gram=True):
            for name, matrix in parts.matrices(parts.blocks(literal)[layer]).items():
                matrix.weight.copy_(dequantize(gptq.gptq(matrix.weight, found[name], options)))
    assert all(torch.equal(W, parts.weights(ours)[name]) for name, W in parts.weights(literal).items())


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("rotate")])
def test_the_zeros_of_a_pruned_model_stay_zeros(name):
    pruned = pruning.prune(reader(), pruning.Recipe("magnitude", 0.5))
    out = quantize.apply(pruned, name, texts=TEXTS, packed=True)
    assert all(bool((new[old == 0] == 0).all()) for old, new in weights_of(pruned, out))


def test_a_rotation_would_fill_the_zeros_and_says_so():
    pruned = pruning.prune(reader(), pruning.Recipe("magnitude", 0.5))
    with pytest.raises(ValueError, match=r"50\.\d% of the weights are 0: a rotation mixes columns"):
        quantize.apply(pruned, "rotate-rtn", texts=TEXTS)


def test_gptq_prunes_in_the_same_pass():
    out = quantize.apply(reader(), "gptq", texts=TEXTS, sparsity=0.5, pattern="2:4")
    assert all(bool(((W == 0).view(len(W), -1, 4).sum(-1) >= 2).all()) for W in parts.weights(out).values())


@pytest.mark.parametrize(
    "name, given, text",
    [
        ("gtpq", {}, "'gtpq' is unknown; known: .*gptq"),
        ("wanda", {}, "'wanda' is unknown; known: .*gptq"),
        ("rtn", {"act_order": True}, "'rtn' does not read act_order; it reads bits, group, range, symmetric"),
        ("ternary", {"bits": 3}, "'ternary' does not read bits; it reads group"),
        ("gptq", {"bits": 17}, "bits=17 must be a whole number from 1 to 16"),
        ("rtn", {"group": 24}, "blocks.0.q_proj: group=24 does not divide the 32 columns"),
        ("gptq", {"act_order": True, "sparsity": 0.5}, "act_order=True with sparsity=0.5"),
    ],
)
def test_what_a_quantizer_does_not_read_or_cannot_do_is_refused(name, given, text):
    with pytest.raises(ValueError, match=text):
        quantize.apply(reader(), name, texts=TEXTS, **given)


def test_a_method_that_returns_weights_cannot_be_packed():
    halve = Method("halve", None, lambda W, statistics, options, generator: W / 2)
    with pytest.raises(ValueError, match="this method returns weights, not codes"):
        compress(tiny_model(), halve, 1, packed=True)


def test_a_packed_model_is_changed_by_nothing():
    """What would write into its weights writes into a copy that is thrown away: so it is refused."""
    packed = quantize.apply(reader(), "rtn", texts=TEXTS, packed=True)
    for change in (
        lambda: quantize.apply(packed, "rtn", texts=TEXTS),
        lambda: methods.apply(packed, "wanda", 0.5, texts=TEXTS),
        lambda: methods.apply(packed, "neurons", 0.5, texts=TEXTS),
        lambda: methods.apply(packed, "layers", 0.5, texts=TEXTS),
        lambda: pruning.prune(packed, pruning.Recipe("magnitude", 0.5, "global", sequential=False)),
        lambda: quantize.apply(packed, "awq", texts=TEXTS),
        lambda: quantize.apply(packed, "rotate-rtn", texts=TEXTS),
        lambda: qat.prepare(packed, QSpec(4)),
        lambda: recovery.recover(packed, recovery.recipe(1), steps=1),
    ):
        with pytest.raises(ValueError, match="blocks.0.q_proj is packed in 4 bits and cannot be changed: prune"):
            change()


def test_every_registered_quantizer_makes_its_options_from_plain_values():
    for name in NAMES:
        method = quantize.quantizer(name)
        assert isinstance(method, Method | Program) and method.options and set(method.uses) <= quantize.reads(name)


def test_a_quantizer_is_added_by_one_call_from_the_matrix_to_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))  # what is registered here is gone after the test

    def floor(W, statistics, spec, generator):
        return quantize_matrix(W, replace(spec, rounding="floor"))

    register(Method("floor", None, floor, uses=("bits", "group"), family="quantize", options=QSpec))
    checkpoint.save(reader(), TOKENIZER, tmp_path / "dense")
    line = f"quantize --model {tmp_path / 'dense'} --method floor --bits 3 --group 16 --out {tmp_path / 'few'}"
    assert cli.main(line.split()) == 0, capsys.readouterr().err
    W = parts.weights(reader())["blocks.0.q_proj"].detach()
    stored = parts.weights(load(tmp_path / "few").model)["blocks.0.q_proj"]
    assert torch.equal(stored, fake_quantize(W, QSpec(3, group=16, rounding="floor")))
    assert cli.main([*line.split(), "--symmetric"]) == 2
    assert "--symmetric: floor does not look at it" in capsys.readouterr().err
