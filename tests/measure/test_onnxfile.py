"""A model in an ONNX file, where the packages are there; a sentence where they are not."""

import sys

import pytest
import torch

from dlmlab.measure import onnxfile
from dlmlab.network.model import LLaDAConfig, LLaDAModelLM

needs_onnx = pytest.mark.skipif(bool(onnxfile.missing()), reason=onnxfile.missing() or "there")  # 2026-11


def test_what_is_absent_is_named():
    assert onnxfile.missing("torch") == ""
    assert onnxfile.missing("no_such", "nor_this") == "no_such, nor_this not installed: `pip install no_such nor_this`"


def test_quiet_is_quiet(capsys, recwarn):
    import logging
    import warnings

    with onnxfile.quiet():
        print("a")
        print("b", file=sys.stderr)
        warnings.warn("c", stacklevel=1)
        logging.getLogger("x").warning("d")
    assert capsys.readouterr() == ("", "") and not recwarn.list
    print("again")
    assert capsys.readouterr().out == "again\n"


def test_rows_are_read_without_their_padding():
    seen = []

    def read(ids):
        seen.append(ids.tolist())
        return ids[..., None].float() * torch.ones(3)

    ids = torch.tensor([[0, 0, 7, 8], [1, 2, 3, 4]])
    valid = torch.tensor([[False, False, True, True], [True] * 4])
    out = onnxfile.unpadded(read)(ids, valid)
    assert seen == [[[7, 8]], [[1, 2, 3, 4]]] and out.shape == (2, 4, 3)
    assert out[0, :, 0].tolist() == [0, 0, 7, 8] and out[1, :, 2].tolist() == [1, 2, 3, 4]
    assert torch.equal(onnxfile.unpadded(read)(ids, None), read(ids))


@needs_onnx
def test_a_file_of_any_length_computes_what_we_compute(tmp_path):
    config = LLaDAConfig(d_model=16, n_heads=2, n_layers=1, mlp_hidden_size=32, vocab_size=20, max_sequence_length=32)
    model = LLaDAModelLM(config).eval()
    reader = onnxfile.Reader(onnxfile.export(model, tmp_path / "a.onnx"))
    for shape in ((1, 5), (3, 17)):
        ids = torch.randint(0, 20, shape)
        with torch.inference_mode():
            assert torch.allclose(reader(ids), model(ids).logits, atol=1e-4)
    int8 = onnxfile.Reader(onnxfile.to_int8(tmp_path / "a.onnx", tmp_path / "b.onnx"))
    assert int8(ids).shape == (3, 17, 20)
