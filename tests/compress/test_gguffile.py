"""A model in a file of llama.cpp: names, order of rows, what falls back, and back again where `gguf` is installed."""

import pytest
import torch

from dlmlab.compress import gguffile
from dlmlab.network.model import LLaDAConfig, LLaDAModelLM

needs_gguf = pytest.mark.skipif(bool(gguffile.missing()), reason=gguffile.missing() or "there")  # 2026-11
IDS = torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(0))


def small(**more) -> LLaDAModelLM:
    config = LLaDAConfig(d_model=64, n_heads=4, n_layers=2, mlp_hidden_size=256, vocab_size=40, **more)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LLaDAModelLM(config).eval()


def logits(model):
    with torch.inference_mode():
        return model(IDS).logits


@pytest.mark.parametrize("heads, half", [(1, 1), (1, 4), (3, 2), (4, 8)])
def test_separate_undoes_interleave(heads, half):
    W = torch.randn(2 * heads * half, 5, generator=torch.Generator().manual_seed(0))
    turned = gguffile.interleave(W, heads)
    assert torch.equal(gguffile.separate(turned, heads), W)
    assert torch.equal(turned[0::2], W.unflatten(0, (heads, 2, half))[:, 0].flatten(0, 1))


def test_every_weight_has_a_name_of_its_own():
    names = [gguffile.name_of(name) for name in small().state_dict()]
    assert len(set(names)) == len(names) == 2 * 9 + 3
    with pytest.raises(ValueError, match="no weight"):
        gguffile.name_of("model.transformer.something.weight")


def test_in_float32_nothing_changes_and_without_the_order_everything():
    model = small()
    assert torch.equal(logits(gguffile.held(model)), logits(model))
    assert float((logits(gguffile.held(model, reorder=False)) - logits(model)).abs().max()) > 1e-3


def test_rows_that_are_not_whole_blocks_fall_back():
    found = gguffile.plan(small(), "Q2_K")
    assert found["blk.0.ffn_down.weight"] == "Q2_K" and found["blk.0.attn_q.weight"] == "Q4_0"
    assert found["output_norm.weight"] == "F32"
    assert gguffile.size(small(), "Q8_0") < gguffile.size(small(), "F16") < gguffile.size(small(), "F32")


@needs_gguf
@pytest.mark.parametrize("kind", ("F32", "F16", "BF16", "Q8_0", "Q4_1", "Q4_0"))
def test_a_file_holds_what_it_is_said_to_hold(kind, tmp_path):
    model = small(n_kv_heads=2)
    path = gguffile.write(model, tmp_path / "a.gguf", kind)
    again = gguffile.read(path, model)
    assert torch.equal(logits(again), logits(gguffile.held(model, kind)))
    assert 0 < path.stat().st_size - gguffile.size(model, kind) < 4000
    assert {name: k for name, (k, _) in gguffile.tensors(path).items()} == gguffile.plan(model, kind)


@needs_gguf
def test_a_file_of_another_model_is_refused(tmp_path):
    path = gguffile.write(small(), tmp_path / "a.gguf")
    config = LLaDAConfig(d_model=64, n_heads=4, n_layers=1, mlp_hidden_size=256, vocab_size=40)
    with pytest.raises(ValueError, match="not the same"):
        gguffile.read(path, LLaDAModelLM(config))
    with pytest.raises(ValueError, match="plain"):
        gguffile.write(small(layer_mlp=[256, 128]), tmp_path / "b.gguf")


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(gguffile.importlib.util, "find_spec", lambda name: None)
    for call in (lambda: gguffile.write(small(), tmp_path / "a"), lambda: gguffile.tensors(tmp_path / "a")):
        with pytest.raises(ValueError, match="pip install"):
            call()
