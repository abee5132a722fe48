"""The contract of a compression method: one call adds a method, and nothing is applied in place of another."""

import pytest
import torch

from dlmlab import cli
from dlmlab.compress import methods, pruning, registry
from dlmlab.compress.pruning import Recipe
from dlmlab.compress.quant import quantize  # noqa: F401  fills the registry before a test replaces it
from dlmlab.compress.registry import Method, Program, compress, register
from dlmlab.network import checkpoint, parts
from tests.compress.cases import PROBLEMS, TOKENIZER, even_heads, reader, tiny_calibration, weights_of
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))


def rounded(W, statistics, bits, generator):
    """A quantizer in one line; its options are a number of bits."""
    scale = W.abs().max() / 2 ** (bits - 1)
    return (W / scale).round() * scale


def test_a_pruning_method_is_added_by_one_call_from_the_matrix_to_the_command_line(tmp_path, capsys):
    smallest = pruning.by_score(
        "smallest_inputs", lambda W, found, *_: found.rms.to(W.dtype).expand(W.shape), needs="sums"
    )
    register(smallest)
    model, calib, recipe = even_heads(), tiny_calibration(), Recipe("smallest_inputs", 0.5)
    out = pruning.prune(model, recipe, calib=calib)
    assert pruning.sparsity_of(out) == pytest.approx(0.5, abs=0.01)
    gone = parts.weights(out)["blocks.0.ff_out"] == 0
    assert bool((gone == gone[:1]).all())  # the score depends on the column alone
    small = methods.apply(reader(), "smallest_inputs", 0.5, texts=methods.Texts(TOKENIZER, PROBLEMS[:2]))
    assert pruning.sparsity_of(small) == pytest.approx(0.5, abs=0.01)
    ids = {k: getattr(TOKENIZER, k) for k in checkpoint.TOKEN_IDS}
    dense = even_heads(vocab_size=len(TOKENIZER), max_sequence_length=96, **ids)
    checkpoint.save(dense, TOKENIZER, tmp_path / "dense")
    line = (
        f"prune --model {tmp_path / 'dense'} --method smallest_inputs --sparsity 0.5 --texts 2 --out {tmp_path / 'out'}"
    )
    assert cli.main(line.split()) == 0, capsys.readouterr().err
    assert "zeros in the blocks 50.0%" in capsys.readouterr().out


def test_a_method_need_not_know_of_sparsity():
    register(Method("round", None, rounded, family="quantize"))
    out = compress(even_heads(), "round", [3, 8])
    for layer, (coarse, fine) in enumerate([(True, False), (False, True)]):
        W = parts.weights(out)[f"blocks.{layer}.q_proj"]
        assert (len(W.unique()) <= 9) == coarse and (len(W.unique()) > 9) == fine
    with pytest.raises(ValueError, match="'round' is unknown"):
        Recipe("round", 0.5)
    assert "round" in registry.names("quantize") and "round" not in registry.names("prune")


def test_a_method_sees_what_it_needs_of_the_layers_that_were_changed_before():
    seen = []

    def halve(W, statistics, options, generator):
        seen.append(statistics)
        return W * options

    method = register(Method("halve", "gram", halve, family="other"))
    model, calib = even_heads(), tiny_calibration()
    for sequential in (True, False):
        out = compress(model, method, 0.5, calib=calib, sequential=sequential)
        assert all(torch.equal(a * 0.5, b) for a, b in weights_of(model, out))
    assert all(found.gram is not None for found in seen)
    count = len(seen) // 4  # of a block
    pairs = list(zip(seen[: 2 * count], seen[2 * count :], strict=True))
    assert all(torch.equal(a.sum_sq, b.sum_sq) for a, b in pairs[:count])  # nothing was changed before the first
    assert not any(torch.equal(a.sum_sq, b.sum_sq) for a, b in pairs[count:])


def test_a_program_takes_the_model_as_a_whole():
    register(Program("nothing", lambda model, texts, **options: (model, options)))
    model = even_heads()
    out, options = methods.apply(model, "nothing", 0.5, texts=None, pattern="2:4")
    assert out is model and options == {"sparsity": 0.5, "pattern": "2:4", "block": None}
    with pytest.raises(ValueError, match="'nothing' is unknown; known: .*magnitude.*random"):
        Recipe("nothing", 0.5)  # not a method of one matrix


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: Recipe("wanda2", 0.5), "'wanda2' is unknown; known: .*random.*wanda"),
        (lambda: registry.known("wanda2"), "'wanda2' is unknown; known: .*layers.*rtn"),
        (lambda: compress(even_heads(), "wanda2", None), "'wanda2' is unknown"),
        (lambda: register(registry.METHODS["wanda"]), "'wanda' is there already"),
        (lambda: Method("m", "moments", rounded), "needs='moments' is unknown"),
        (lambda: register(Method("m", None, None)), "apply=None is no function"),
        (lambda: compress(even_heads(), Method("m", None, rounded), [2, 3, 4]), "needs 2 of them"),
        (lambda: compress(even_heads(), Method("m", "sums", rounded), 4), "needs calib="),
        (lambda: compress(even_heads(), Method("m", "sums", rounded), 4, statistics={}), "sequential=False"),
    ],
)
def test_what_is_not_there_or_lacks_what_it_needs_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_an_option_that_a_method_does_not_read_is_refused():
    register(Method("m", None, lambda W, statistics, recipe, generator: W))
    for options, text in (({"block": 8}, "block=8"), ({"pattern": "layer"}, "'layer' is not possible")):
        with pytest.raises(ValueError, match=text):
            Recipe("m", 0.5, **options)
