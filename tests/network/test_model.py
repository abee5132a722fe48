"""The transformer: LLaDA's arithmetic and names, three kinds of attention, an exact cache, harmless statistics."""

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, LlamaConfig, LlamaForCausalLM

from dlmlab.network.config import LLaDAConfig
from dlmlab.network.kv import KV
from dlmlab.network.model import LLaDAModelLM, column_sums, count_parameters
from tests.tiny import SIZES, one_thread, tiny_ids, tiny_model  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")
ATTENTIONS = ["full", "causal", "block:3"]
NAMES_IN_LLAMA = {
    "model.transformer.wte": "model.embed_tokens",
    "model.transformer.ln_f": "model.norm",
    "model.transformer.ff_out": "lm_head",
    "model.transformer.blocks.{i}.attn_norm": "model.layers.{i}.input_layernorm",
    "model.transformer.blocks.{i}.q_proj": "model.layers.{i}.self_attn.q_proj",
    "model.transformer.blocks.{i}.k_proj": "model.layers.{i}.self_attn.k_proj",
    "model.transformer.blocks.{i}.v_proj": "model.layers.{i}.self_attn.v_proj",
    "model.transformer.blocks.{i}.attn_out": "model.layers.{i}.self_attn.o_proj",
    "model.transformer.blocks.{i}.ff_norm": "model.layers.{i}.post_attention_layernorm",
    "model.transformer.blocks.{i}.ff_proj": "model.layers.{i}.mlp.gate_proj",
    "model.transformer.blocks.{i}.up_proj": "model.layers.{i}.mlp.up_proj",
    "model.transformer.blocks.{i}.ff_out": "model.layers.{i}.mlp.down_proj",
}
# `reference/sampling-methods.md` 4.1, the config.json of GSAI-ML/LLaDA-8B-Base
LLADA_8B = {
    "d_model": 4096, "n_heads": 32, "n_kv_heads": 32, "n_layers": 32, "mlp_hidden_size": 12288, "mlp_ratio": 4,
    "vocab_size": 126464, "embedding_size": 126464, "max_sequence_length": 4096, "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5, "mask_token_id": 126336,
}  # fmt: skip


@torch.no_grad()
def logits(model, ids, mask=None, **options):
    return model(ids, mask, **options).logits


def close(a, b, atol=1e-5):
    return a.shape == b.shape and torch.allclose(a, b, atol=atol, rtol=1e-5)


def visible(attention, L):
    """Write down who may see whom, (query, key), by the words of the definition."""
    size = {"full": L, "causal": 1, "block:3": 3}[attention]
    return torch.tensor([[key // size <= query // size for key in range(L)] for query in range(L)])


# ------------------------------------------------------------------------------------------------ the architecture


def llama_twin(model):
    """Make transformers' Llama with the weights of a tiny model."""
    c = model.config
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=c.vocab_size,
            hidden_size=c.d_model,
            intermediate_size=c.mlp_hidden_size,
            num_hidden_layers=c.n_layers,
            num_attention_heads=c.n_heads,
            num_key_value_heads=c.n_kv_heads,
            max_position_embeddings=c.max_sequence_length,
            rms_norm_eps=c.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
            tie_word_embeddings=False,
        )
    ).eval()
    ours, theirs = model.state_dict(), {}
    for i in range(c.n_layers):
        theirs |= {f"{b}.weight".format(i=i): ours[f"{a}.weight".format(i=i)] for a, b in NAMES_IN_LLAMA.items()}
    llama.load_state_dict(theirs)
    assert len(theirs) == len(ours)
    return llama


# An eps and a theta far from the usual ones (and fewer key heads than heads): with the defaults a wrong convention
# hides in the rounding.
STRANGE = {"rms_norm_eps": 0.1, "rope_theta": 50.0}


def test_causal_attention_computes_what_llama_computes():
    model, ids = tiny_model("causal", **STRANGE), tiny_ids()
    with torch.no_grad():
        assert close(logits(model, ids), llama_twin(model)(ids).logits)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_attention_computes_what_llama_computes_with_the_same_mask(attention):
    model, ids = tiny_model(attention, **STRANGE), tiny_ids()
    bias = torch.zeros(2, 1, 12, 12).masked_fill(~visible(attention, 12), float("-inf"))
    with torch.no_grad():
        assert close(logits(model, ids), llama_twin(model)(ids, attention_mask=bias).logits)


def test_an_8b_config_gives_the_8b_tensors():
    with torch.device("meta"):
        model = LLaDAModelLM(LLaDAConfig(**LLADA_8B))
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    block = (
        {f"{n}_norm": (4096,) for n in ("attn", "ff")}
        | {f"{n}_proj": (4096, 4096) for n in "qkv"}
        | {"attn_out": (4096, 4096)}
    )
    block |= {"ff_proj": (12288, 4096), "up_proj": (12288, 4096), "ff_out": (4096, 12288)}
    expected = {f"model.transformer.blocks.{i}.{k}.weight": v for i in range(32) for k, v in block.items()}
    expected |= {f"model.transformer.{k}.weight": (126464, 4096) for k in ("wte", "ff_out")} | {
        "model.transformer.ln_f.weight": (4096,)
    }
    assert shapes == expected
    assert (
        len(shapes) == 291 and count_parameters(model) == 8_015_581_184
    )  # the totals of the released checkpoint, reference 4.1


def test_the_mini_has_the_names_of_the_8b_and_its_own_size():
    model = LLaDAModelLM(LLaDAConfig(vocab_size=333))
    D, F, V = 192, 512, 333
    assert count_parameters(model) == 2 * V * D + D + 6 * (4 * D * D + 3 * D * F + 2 * D)
    names = {a.format(i=i) + ".weight" for a in NAMES_IN_LLAMA for i in range(6)}
    assert set(model.state_dict()) == names and len(names) == 3 + 9 * 6


def test_a_padded_table_gives_more_logits_than_tokens():
    assert logits(tiny_model(vocab_size=50, embedding_size=64), tiny_ids()).shape == (2, 12, 64)


def test_logits_are_float32_whatever_the_weights_are():
    assert logits(tiny_model().to(torch.bfloat16), tiny_ids()).dtype == torch.float32


# ------------------------------------------------------------------------------------------------ who sees whom


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_token_reaches_exactly_the_positions_that_may_see_it(attention):
    L, model = 8, tiny_model(attention)
    ids = tiny_ids(1, L)
    changed = ids.repeat(L, 1)
    changed[range(L), range(L)] = (ids[0] + 1) % 50  # row j differs from the original at position j alone
    difference = (logits(model, changed) - logits(model, ids)).abs().amax(-1)  # (j, position)
    assert torch.equal(difference.T > 1e-4, visible(attention, L))


@pytest.mark.parametrize("attention", ["full", "causal", "block:2", "block:3", "block:7"])
def test_left_padding_changes_no_logit(attention):
    model, ids = tiny_model(attention), tiny_ids(2, 9)
    padded = torch.cat([tiny_ids(2, 5, seed=3), ids], 1)  # padding by any tokens, so that a leak would show
    mask = (torch.arange(14) >= 5).long().expand(2, 14)
    result = logits(model, padded, mask)
    assert close(result[:, 5:], logits(model, ids), atol=1e-4) and bool(result.isfinite().all())


def test_rows_of_a_padded_batch_do_not_touch_each_other():
    model, ids = tiny_model(), tiny_ids(2, 10)
    mask = torch.ones(2, 10, dtype=torch.long)
    mask[1, :4] = 0
    result = logits(model, ids, mask)
    assert close(result[:1], logits(model, ids[:1])) and close(result[1:, 4:], logits(model, ids[1:, 4:]), atol=1e-4)


# ---------------------------------------------------------------------------------------------- statistics and kernels


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_explicit_and_fused_attention_agree(attention):
    model, ids = tiny_model(attention), tiny_ids()
    fused = logits(model, ids)
    assert close(logits(model, ids, output_attentions=True), fused)
    assert close(logits(model, ids, kernel="explicit"), fused)


def test_the_mode_of_a_model_chooses_nothing():
    model, ids = tiny_model(), tiny_ids()
    assert torch.equal(logits(model.train(), ids), logits(model.eval(), ids))  # no dropout, and no other kernel
    with pytest.raises(ValueError, match="kernel='flash' is unknown; known: fused, explicit"):
        logits(model, ids, kernel="flash")


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_forward_can_be_told_its_attention(attention):
    model, ids = tiny_model("full"), tiny_ids()
    assert torch.equal(logits(model, ids, attention=attention), logits(tiny_model(attention), ids))
    assert model.config.attention == "full"


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_column_sums_are_the_sums_of_the_maps_and_change_no_logit(attention):
    model, ids = tiny_model(attention), tiny_ids()
    with torch.no_grad():
        out, sums = model(ids, output_attentions=True), model(ids, output_column_sums=True)
    assert close(sums.logits, logits(model, ids)) and sums.attentions is None and out.column_sums is None
    assert len(out.attentions) == len(sums.column_sums) == 2
    for maps, columns in zip(out.attentions, sums.column_sums, strict=True):
        assert maps.shape == (2, 4, 12, 12) and columns.shape == (2, 4, 12)
        assert close(columns, maps.sum(2))
        assert close(columns.sum(-1), torch.full((2, 4), 12.0), atol=1e-4)  # every query gives away exactly 1
        assert bool((maps[..., ~visible(attention, 12)] == 0).all())


@pytest.mark.parametrize("attention", ["full", "causal"])  # causal: the first padded query sees no real key at all
def test_column_sums_leave_padded_queries_and_keys_out(attention):
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, :4] = 0
    with torch.no_grad():
        sums = tiny_model(attention)(tiny_ids(), mask, output_column_sums=True).column_sums
    for columns in sums:
        assert close(columns.sum(-1), torch.tensor([[12.0], [8.0]]).expand(2, 4), atol=1e-4)
        assert bool((columns[1, :, :4] == 0).all())


def test_column_sums_of_a_known_map():
    weights = torch.tensor([[[[0.25, 0.75], [1.0, 0.0]]]])  # (B, H, query, key)
    assert column_sums(weights).tolist() == [[[1.25, 0.75]]]
    assert column_sums(weights, torch.tensor([[0, 1]])).tolist() == [[[1.0, 0.0]]]


@pytest.mark.parametrize("keep", [slice(9, 12), torch.tensor([9, 10, 11]), torch.tensor([4])])
def test_the_head_on_some_positions_gives_their_logits(keep):
    model, ids = tiny_model(), tiny_ids()
    assert close(logits(model, ids, logits_to_keep=keep), logits(model, ids)[:, keep])


# ------------------------------------------------------------------------------------------------ the cache


@pytest.mark.parametrize(
    "attention, chunks", [("causal", [5, 1, 1, 3, 2]), ("causal", [1] * 12), ("block:3", [3, 3, 6])]
)
def test_decoding_in_pieces_with_a_cache_gives_the_logits_of_the_whole(attention, chunks):
    model, ids, kv = tiny_model(attention), tiny_ids(), KV()
    pieces = [logits(model, part, kv=kv) for part in ids.split(chunks, 1)]
    assert close(torch.cat(pieces, 1), logits(model, ids)) and len(kv) == 12
    assert (
        kv.nbytes == 2 * 2 * (2 * 12 * SIZES["n_kv_heads"] * 8) * 4
    )  # layers, keys and values, (B, L, H_kv, D/H), float32


# ------------------------------------------------------------------------------------------------ lengths and files


def test_a_length_outside_the_model_is_refused():
    model = tiny_model("causal")
    logits(model, tiny_ids(1, 32))
    with pytest.raises(ValueError, match="length 33 is outside 1..32"):
        logits(model, tiny_ids(1, 33))
    with pytest.raises(ValueError, match="length 0"):
        logits(model, tiny_ids(1, 0))
    kv = KV()
    logits(model, tiny_ids(1, 30), kv=kv)
    with pytest.raises(ValueError, match="length 33"):
        logits(model, tiny_ids(1, 3), kv=kv)
    assert len(kv) == 30  # a refused call leaves the cache as it was


@pytest.mark.parametrize("auto", [AutoModelForMaskedLM, AutoModel])
def test_the_auto_classes_give_back_the_same_model(auto, tmp_path):
    model = tiny_model("block:3", rope_theta=50.0, rms_norm_eps=0.1)
    model.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py")) and not list(tmp_path.glob("*.bin"))
    again = auto.from_pretrained(tmp_path, trust_remote_code=False)
    assert type(again) is LLaDAModelLM and again.config.to_diff_dict() == model.config.to_diff_dict()
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    torch.testing.assert_close(logits(again, tiny_ids()), logits(model, tiny_ids()))
