"""The model speaks Transformers: every keyword has its effect or is refused, and the tables can be replaced."""

import copy
import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForCausalLM, DynamicCache, StaticCache

import dlmlab as dl
from dlmlab.decode import autoregressive
from dlmlab.decode.sampling import left_pad
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.kv import KV
from dlmlab.network.model import LLaDAModelLM
from dlmlab.task.layout import encode_prompt
from dlmlab.task.tasks import make_problem
from tests.network.test_model import ATTENTIONS, STRANGE, close, llama_twin
from tests.tiny import SIZES, one_thread, tiny_ids, tiny_model  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")
SPECIAL = {"eos_token_id": 1, "pad_token_id": 1, "mask_token_id": 0}


def labels_of(ids, share=0.4, seed=5):
    """Label some positions, another number in each row, and no position by -100."""
    some = torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)) < share
    return torch.where(some, ids, -100)


def same_state(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# --------------------------------------------------------------------------------------------------------- keywords


@pytest.mark.parametrize("word", ["attention_maks", "token_type_ids", "position", "cache_position", "label"])
@pytest.mark.parametrize("error", [ValueError, TypeError])
def test_an_unknown_keyword_is_refused_with_the_known_ones(word, error):
    with pytest.raises(error, match=rf"{word}; it knows .*attention_mask.*labels") as raised:
        tiny_model()(tiny_ids(), **{word: None})
    assert "self" not in str(raised.value) and "unknown" not in str(raised.value)


def test_every_keyword_of_forward_has_an_effect():
    """Each changes the result, or its kind, or is refused; a keyword added to the signature must be added here."""
    model, ids = tiny_model("causal"), tiny_ids(2, 6)
    mask, kv = torch.ones(2, 6, dtype=torch.long), KV()
    mask[:, :2] = 0
    model(ids, kv=kv)
    tried = {
        "input_ids": {"input_ids": ids.flip(0)},
        "attention_mask": {"attention_mask": mask},
        "kv": {"kv": kv.copy()},
        "positions": {"kv": kv.copy(), "positions": torch.arange(6).flip(0)},
        "position_ids": {"position_ids": 3 * torch.arange(6)},
        "inputs_embeds": {"input_ids": None, "inputs_embeds": torch.ones(2, 6, 32)},
        "labels": {"labels": ids},
        "logits_to_keep": {"logits_to_keep": 2},
        "past_key_values": {"past_key_values": DynamicCache()},
        "use_cache": {"use_cache": True},
        "output_attentions": {"output_attentions": True},
        "output_hidden_states": {"output_hidden_states": True},
        "output_column_sums": {"output_column_sums": True},
        "attention": {"attention": "full"},
        "clean": {"clean": ids.flip(0)},
        "return_dict": {"return_dict": False},
        "num_items_in_batch": {"labels": ids, "num_items_in_batch": 7},
    }
    another_way = {"kernel"}  # to the same numbers
    assert tried.keys() == inspect.signature(model.forward).parameters.keys() - {"unknown"} - another_way
    plain, labelled = model(ids), model(ids, labels=ids)
    for word, options in tried.items():
        other, before = model(**{"input_ids": ids} | options), labelled if len(options) == 2 else plain
        shared = [k for k in ("loss", "logits") if isinstance(other, dict) and k in other and k in before]
        same_values = all(other[k].shape == before[k].shape and close(other[k], before[k]) for k in shared)
        assert not (type(other) is type(before) and other.keys() == before.keys() and same_values), word


def test_labels_of_another_attention_are_refused():
    model, ids = tiny_model("causal"), tiny_ids()
    assert model(ids, labels=ids, attention="causal").loss == model(ids, labels=ids).loss
    with pytest.raises(ValueError, match="attention='full': labels .* 'causal'"):
        model(ids, labels=ids, attention="full")


def test_flags_of_the_config_count_when_the_call_says_nothing():
    model, ids = tiny_model(output_hidden_states=True), tiny_ids()
    assert len(model(ids).hidden_states) == 3 and model(ids, output_hidden_states=False).hidden_states is None
    model.config.return_dict = False
    assert isinstance(model(ids), tuple) and model(ids, return_dict=True).logits is not None


def test_a_tuple_has_the_loss_first_and_then_the_logits():
    model, ids = tiny_model(), tiny_ids()
    loss, logits, states = model(ids, labels=ids, output_hidden_states=True, return_dict=False)
    assert loss.ndim == 0 and logits.shape == (2, 12, 50) and len(states) == 3
    assert torch.equal(model(ids, return_dict=False)[0], logits) and torch.equal(model(ids)[0], logits)


@pytest.mark.parametrize("both", [True, False])
def test_ids_or_embeddings_not_both_and_not_neither(both):
    model = tiny_model()
    options = {"input_ids": tiny_ids(), "inputs_embeds": model.get_input_embeddings()(tiny_ids())} if both else {}
    with pytest.raises(ValueError, match="input_ids or inputs_embeds"):
        model(**options)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_embeddings_of_the_ids_give_the_logits_of_the_ids(attention):
    model, ids = tiny_model(attention), tiny_ids()
    mask = (torch.arange(12) >= torch.tensor([[0], [3]])).long()
    embeds = model.get_input_embeddings()(ids)
    assert torch.equal(model(inputs_embeds=embeds, attention_mask=mask).logits, model(ids, mask).logits)


def test_a_mask_of_another_shape_is_refused():
    for shape in ((2, 11), (1, 12), (2, 1, 12, 12), (12,)):
        with pytest.raises(ValueError, match=str(shape[-1])):
            tiny_model()(tiny_ids(), torch.ones(shape))


def test_positions_without_a_cache_are_refused():
    with pytest.raises(ValueError, match="positions"):
        tiny_model()(tiny_ids(), positions=torch.arange(12))


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_position_ids_turn_the_keys_and_queries_and_only_differences_count(attention):
    model, ids = tiny_model(attention, rope_theta=50.0), tiny_ids()
    at = torch.arange(12)
    assert torch.equal(model(ids, position_ids=at).logits, model(ids).logits)
    assert close(model(ids, position_ids=at + 7).logits, model(ids).logits, atol=1e-4)
    rows = torch.stack([at, 2 * at])
    assert close(model(ids, position_ids=rows).logits[1:], model(ids[1:], position_ids=2 * at).logits)
    with torch.no_grad():
        assert close(
            tiny_model("causal", **STRANGE)(ids, position_ids=rows).logits,
            llama_twin(tiny_model("causal", **STRANGE))(ids, position_ids=rows).logits,
        )


def test_hidden_states_are_those_of_llama():
    model, ids = tiny_model("causal", **STRANGE), tiny_ids()
    with torch.no_grad():
        ours, theirs = (m(ids, output_hidden_states=True).hidden_states for m in (model, llama_twin(model)))
    assert len(ours) == len(theirs) == 3 and all(close(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_hidden_states_and_kept_logits_do_not_disturb_each_other(attention):
    model, ids = tiny_model(attention), tiny_ids()
    out = model(ids, output_hidden_states=True, logits_to_keep=torch.tensor([4, 9]))
    assert close(out.logits, model(ids).logits[:, [4, 9]]) and out.hidden_states[-1].shape == (2, 12, 32)
    assert torch.equal(out.hidden_states[0], model.get_input_embeddings()(ids))


@pytest.mark.parametrize("last, columns", [(1, 1), (5, 5), (0, 12)])
def test_a_number_of_logits_to_keep_counts_from_the_end(last, columns):
    model, ids = tiny_model(), tiny_ids()
    assert close(model(ids, logits_to_keep=last).logits, model(ids).logits[:, -columns:])


@pytest.mark.parametrize("name", ["eager", "sdpa"])
def test_the_attention_that_is_asked_for_is_computed(name, monkeypatch, tmp_path):
    tiny_model().save_pretrained(tmp_path)
    model = LLaDAModelLM.from_pretrained(tmp_path, attn_implementation=name).eval()
    fused, kernel = [], F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: fused.append(1) or kernel(*a, **k))
    expected = tiny_model()(tiny_ids()).logits
    fused.clear()
    assert close(model(tiny_ids()).logits, expected) and len(fused) == (2 if name == "sdpa" else 0)
    model.set_attn_implementation("eager")
    fused.clear()
    assert close(model(tiny_ids(), logits_to_keep=3).logits, expected[:, -3:]) and not fused


@pytest.mark.parametrize("name", ["flash_attention_2", "flex_attention", "fast", "kernels-community/flash-attn"])
def test_attention_that_is_not_implemented_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name}.*known: eager, sdpa"):
        LLaDAModelLM(LLaDAConfig(**SIZES, attn_implementation=name))
    with pytest.raises(ValueError, match=rf"{name}.*known: eager, sdpa"):
        tiny_model().set_attn_implementation(name)


# ------------------------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_loss_is_the_mean_over_the_labelled_positions(attention):
    model, ids = tiny_model(attention), tiny_ids()
    labels, total, n = labels_of(ids), 0.0, 0
    log_p = model(ids).logits.detach().log_softmax(-1)
    for row in range(2):
        for at in range(12):
            read = at - 1 if attention == "causal" else at  # a causal model says at `read` what stands at `at`
            if labels[row, at] != -100 and read >= 0:
                total, n = total - float(log_p[row, read, labels[row, at]]), n + 1
    assert float(model(ids, labels=labels).loss) == pytest.approx(total / n, rel=1e-5)
    assert float(model(ids, labels=labels, num_items_in_batch=3).loss) == pytest.approx(total / 3, rel=1e-5)


def test_the_causal_loss_is_that_of_llama():
    model, ids = tiny_model("causal", **STRANGE), tiny_ids()
    assert close(model(ids, labels=labels_of(ids)).loss, llama_twin(model)(ids, labels=labels_of(ids)).loss)


@pytest.mark.parametrize("attention", ["full", "causal"])
@pytest.mark.parametrize("keep", [slice(3, 9), torch.tensor([2, 7, 11]), torch.tensor([[1, 5], [0, 11]]), 4])
def test_the_loss_of_some_positions_uses_their_labels(attention, keep):
    model, ids = tiny_model(attention), tiny_ids()
    at = torch.arange(12).expand(2, 12)
    kept = (
        at[:, -keep:] if isinstance(keep, int) else at.gather(1, keep) if getattr(keep, "ndim", 0) == 2 else at[:, keep]
    )
    target = kept + (attention == "causal")  # where the label stands that a kept position should say
    here = torch.zeros(2, 13, dtype=torch.bool).scatter_(1, target, True)[:, :12]
    only = torch.where(here, ids, -100)
    assert close(model(ids, labels=ids, logits_to_keep=keep).loss, model(ids, labels=only).loss)


def test_a_batch_without_labels_has_no_loss_and_no_gradient():
    model, ids = tiny_model(), tiny_ids()
    loss = model(ids, labels=torch.full_like(ids, -100)).loss
    loss.backward()
    assert loss == 0 and all(bool((p.grad == 0).all()) for p in model.parameters())


def test_parts_of_a_batch_add_up_to_its_loss():
    model, ids = tiny_model(), tiny_ids(4)
    labels = labels_of(ids)
    count = (labels != -100).sum()
    parts = [model(ids[i : i + 1], labels=labels[i : i + 1], num_items_in_batch=count).loss for i in range(4)]
    assert close(sum(parts), model(ids, labels=labels).loss)


# --------------------------------------------------------------------------------------------- caches and generation


def test_transformers_cache_gives_the_logits_of_the_whole_text():
    model, ids = tiny_model("causal"), tiny_ids()
    mask = (torch.arange(12) >= torch.tensor([[0], [3]])).long()
    whole, cache, pieces = model(ids, mask).logits, DynamicCache(), []
    for start, end in ((0, 5), (5, 6), (6, 12)):
        out = model(ids[:, start:end], mask[:, :end], past_key_values=cache)  # their mask covers the past as well
        pieces.append(out.logits)
        assert out.past_key_values is cache and cache.get_seq_length() == end and out.kv is None
    pieces = torch.cat(pieces, 1)
    assert close(pieces[0], whole[0]) and close(pieces[1, 3:], whole[1, 3:])


@pytest.mark.parametrize("attention", ["full", "block:3"])
@pytest.mark.parametrize("options", [{"use_cache": True}, {"past_key_values": DynamicCache()}])
def test_transformers_cache_is_refused_where_it_is_not_exact(attention, options):
    with pytest.raises(ValueError, match=f"'{attention}'.*dlmlab.sampling.sample"):
        tiny_model(attention)(tiny_ids(), **options)


def test_another_kind_of_cache_is_refused():
    model = tiny_model("causal")
    with pytest.raises(ValueError, match="StaticCache"):
        model(tiny_ids(), past_key_values=StaticCache(config=model.config, max_cache_len=20))
    with pytest.raises(ValueError, match="kv="):
        model(tiny_ids(), past_key_values=DynamicCache(), kv=KV())


@pytest.mark.parametrize("attention", ["full", "block:3"])
def test_generate_without_a_causal_model_says_what_to_use(attention):
    with pytest.raises(ValueError, match=f"'{attention}'.*dlmlab.sampling.sample"):
        tiny_model(attention).generate(tiny_ids(), max_new_tokens=3)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_generate_writes_what_our_own_loop_writes(use_cache, seed):
    model = tiny_model("causal", seed=seed, init_std=0.5, **SPECIAL)
    prompts = [tiny_ids(1, n, seed=seed + n)[0].clamp(min=2).tolist() for n in (3, 7, 5)]
    ours = autoregressive.sample(model, prompts, gen_length=12)
    ids, valid = left_pad(prompts, 1, "cpu")
    theirs = model.generate(ids, attention_mask=valid.long(), max_new_tokens=12, do_sample=False, use_cache=use_cache)
    width = theirs.shape[1]
    assert torch.equal(theirs, ours.ids[:, :width]) and bool((ours.ids[:, width:] == 1).all())


def test_generate_reads_each_token_once_unless_told_otherwise(monkeypatch):
    lengths, read = [], LLaDAModelLM.read
    spy = lambda self, ids, *args, **options: (lengths.append(ids.shape[1]), read(self, ids, *args, **options))[1]  # noqa: E731
    monkeypatch.setattr(LLaDAModelLM, "read", spy)
    tiny_model("causal", **SPECIAL).generate(tiny_ids(1, 4), max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert lengths == [4, 1, 1, 1]


def test_generate_never_writes_the_mask_or_what_is_no_token():
    model = tiny_model("causal", embedding_size=64, **SPECIAL)
    with torch.no_grad():  # the head likes best what it may not say
        model.get_output_embeddings().weight[[0, *range(50, 64)]] *= 100
    written = model.generate(tiny_ids(4, 3), max_new_tokens=16, do_sample=True, top_k=0, suppress_tokens=[7])[:, 3:]
    assert bool(((written > 0) & (written < 50) & (written != 7)).all())


def test_beams_need_no_cache():
    model = tiny_model("causal", init_std=0.5, **SPECIAL)
    a, b = (
        model.generate(tiny_ids(2, 4), max_new_tokens=8, num_beams=3, do_sample=False, use_cache=use)
        for use in (True, False)
    )
    assert torch.equal(a, b)


def test_the_shipped_twin_generates_through_the_auto_class():
    folder = dl.checkpoint.find("llama-mini")
    _, tokenizer = dl.load("llama-mini")
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
    prompts = [encode_prompt(tokenizer, make_problem(seed).question) for seed in range(6)]
    ours = autoregressive.sample(model, prompts, gen_length=40)
    batch = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
    theirs = model.generate(**batch, max_new_tokens=40, do_sample=False)
    assert torch.equal(theirs, ours.ids[:, : theirs.shape[1]]) and bool((ours.ids[:, theirs.shape[1] :] == 0).all())


@pytest.mark.parametrize("name", ["llada-mini", "llama-mini"])
def test_what_the_tokenizer_gives_is_what_the_model_takes(name):
    model, tokenizer = dl.load(name)
    out = model(**tokenizer(["Ben has 8 marbles.", "Cara has 2."], return_tensors="pt", padding=True))
    assert bool(out.logits.isfinite().all())


# ------------------------------------------------------------------------------------- memory, tables, copies, files


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_checkpointed_gradients_are_the_gradients(attention):
    ids, gradients, runs = tiny_ids(), [], []
    for checkpointing in (False, True):
        model = tiny_model(attention).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        for block in model.model.transformer["blocks"]:
            block.attn_norm.register_forward_hook(lambda *_, key=checkpointing: runs.append(key))
        model(ids, labels=ids).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert same_state(*gradients)
    assert runs.count(False) == 2 and runs.count(True) == 4  # every layer was computed a second time


def test_checkpointing_and_a_cache_exclude_each_other():
    model = tiny_model("causal").train()
    model.gradient_checkpointing_enable()
    with pytest.raises(ValueError, match="gradient checkpointing"):
        model(tiny_ids(), kv=KV())
    assert len(model.eval()(tiny_ids(), kv=KV()).kv) == 12
    model.train().gradient_checkpointing_disable()
    assert len(model(tiny_ids(), kv=KV()).kv) == 12


def test_the_tables_can_be_replaced():
    model, ids = tiny_model(), tiny_ids()
    table, head = nn.Embedding(50, 32), nn.Linear(32, 50, bias=False)
    model.set_input_embeddings(table)
    model.set_output_embeddings(head)
    assert model.get_input_embeddings() is table and model.get_output_embeddings() is head
    out = model(ids, output_hidden_states=True)
    assert torch.equal(out.hidden_states[0], table(ids)) and torch.equal(out.logits, head(out.hidden_states[-1]))


@pytest.mark.parametrize("size, multiple, rows", [(53, None, 53), (53, 8, 56), (40, None, 40), (None, 64, 64)])
def test_a_resized_vocabulary_keeps_its_tokens(size, multiple, rows, tmp_path):
    model, ids = tiny_model(), tiny_ids(vocab=40)
    before = model(ids).logits
    table = model.resize_token_embeddings(size, pad_to_multiple_of=multiple)
    after = model(ids).logits
    assert after.shape[-1] == rows == len(table.weight) == model.config.embedding_size
    assert model.config.vocab_size == (size or 50)
    assert close(after[..., :40], before[..., :40])
    model.save_pretrained(tmp_path)
    assert torch.equal(LLaDAModelLM.from_pretrained(tmp_path)(ids).logits, after)


def test_a_vocabulary_without_its_special_tokens_is_refused():
    model = tiny_model(mask_token_id=49)
    for size in (49, 0, -1):
        with pytest.raises(ValueError, match=f"{size} .*mask_token_id=49"):
            model.resize_token_embeddings(size)
    assert model.config.embedding_size == 50 and model(tiny_ids()).logits.shape[-1] == 50


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_copies_and_pickles_give_the_same_logits(attention, tmp_path):
    model, ids = tiny_model(attention, **SPECIAL), tiny_ids()
    torch.save(model, tmp_path / "whole.pt")
    torch.save(model.state_dict(), tmp_path / "state.pt")
    fresh = tiny_model(attention, seed=1)
    fresh.load_state_dict(torch.load(tmp_path / "state.pt"))
    for other in (copy.deepcopy(model), torch.load(tmp_path / "whole.pt", weights_only=False), fresh):
        assert torch.equal(other(ids).logits, model(ids).logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("padded", [False, True])
def test_other_number_formats_are_near(dtype, attention, padded):
    model, ids = tiny_model(attention), tiny_ids()
    mask = (torch.arange(12) >= torch.tensor([[0], [3]])).long() if padded else None
    other = copy.deepcopy(model).to(dtype)(ids, mask)
    assert other.logits.dtype == torch.float32
    assert float((other.logits - model(ids, mask).logits).abs().max()) < 0.5  # of logits up to 40


def test_a_model_without_memory_has_shapes():
    model = tiny_model().to("meta")
    out = model(torch.zeros(2, 5, dtype=torch.long, device="meta"), labels=torch.zeros(2, 5, device="meta").long())
    assert out.logits.shape == (2, 5, 50) and out.loss.shape == () and out.logits.is_meta


def test_an_additive_mask_is_refused():
    model, ids = tiny_model(), tiny_ids()
    assert torch.equal(model(ids, torch.ones(ids.shape)).logits, model(ids, torch.ones_like(ids)).logits)
    with pytest.raises(ValueError, match="-1e"):
        model(ids, torch.ones(ids.shape).index_fill(1, torch.tensor([0]), -1e9))


def test_a_model_whose_cache_was_switched_on_can_be_loaded(tmp_path):
    model = tiny_model()
    model.config.use_cache = True
    model.save_pretrained(tmp_path)
    assert torch.equal(LLaDAModelLM.from_pretrained(tmp_path)(tiny_ids()).logits, model(tiny_ids()).logits)
