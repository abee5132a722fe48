"""llama.cpp is run where its library was put, and named where it was not."""

import pytest
import torch

from dlmlab.compress import gguffile
from dlmlab.measure import llamacpp
from dlmlab.network.model import LLaDAConfig, LLaDAModelLM

absent = llamacpp.missing() or gguffile.missing()
needs_library = pytest.mark.skipif(bool(absent), reason=absent or "there")  # 2026-11: not part of the installation


def test_a_folder_without_the_library_is_named(monkeypatch, tmp_path):
    for folder in ("", str(tmp_path)):
        monkeypatch.setenv(llamacpp.FOLDER, folder)
        assert llamacpp.RELEASE in llamacpp.missing()
    llamacpp.loaded.cache_clear()
    with pytest.raises(ValueError, match=r"llama\.cpp"):
        llamacpp.loaded()


def test_another_system_is_named(monkeypatch):
    monkeypatch.setattr(llamacpp.platform, "system", lambda: "Plan9")
    assert "Plan9" in llamacpp.missing()


@needs_library
def test_it_computes_what_we_compute(tmp_path):
    config = LLaDAConfig(d_model=64, n_heads=4, n_layers=2, mlp_hidden_size=256, vocab_size=40)
    model = LLaDAModelLM(config).eval()
    path = gguffile.write(model, tmp_path / "a.gguf")
    reader = llamacpp.Reader(path, vocab_size=40, flash=False)
    ids = torch.randint(0, 40, (3, 11))
    with torch.inference_mode():
        assert torch.allclose(reader(ids), model(ids).logits, atol=1e-4)
    with pytest.raises(ValueError, match="outside"):
        reader.row([1] * 600)
    reader.close()
    llamacpp.quantize(path, tmp_path / "b.gguf", "Q2_K")
    kinds = {name: kind for name, (kind, _) in gguffile.tensors(tmp_path / "b.gguf").items()}
    assert kinds["blk.0.attn_q.weight"] == gguffile.plan(model, "Q2_K")["blk.0.attn_q.weight"]
    with pytest.raises(ValueError, match="known"):
        llamacpp.quantize(path, tmp_path / "c.gguf", "Q9")
