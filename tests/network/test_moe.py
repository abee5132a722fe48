"""LLaDA2.x: the arithmetic of the published model, derived once more from its description; its names, its cache."""

import copy
import json
import random
import time
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, AutoModelForMaskedLM

from dlmlab.compress import activations, pruning, registry
from dlmlab.compress.quant import grids
from dlmlab.decode import edit
from dlmlab.decode.cache import BlockCache, DualCache
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.network import checkpoint, parts
from dlmlab.network.checkpoint import CheckpointError, empty_model, load_model
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.cost import forward_flops
from dlmlab.network.kv import KV
from dlmlab.network.model import count_parameters
from dlmlab.network.moe import LLaDA2Config, LLaDA2MoeModelLM, Router, merged, route
from tests.tiny import MOE, one_thread, tiny_ids, tiny_model, tiny_moe

__all__ = ["one_thread", "grids"]
pytestmark = pytest.mark.usefixtures("one_thread")

# `reference/sampling-methods.md` 4.3: the config.json of inclusionAI/LLaDA2.1-mini.
PUBLISHED = {
    "architectures": ["LLaDA2MoeModelLM"], "model_type": "llada2_moe", "dtype": "bfloat16",
    "auto_map": {"AutoConfig": "configuration_llada2_moe.LLaDA2MoeConfig"},
    "hidden_size": 2048, "num_hidden_layers": 20, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 128,
    "intermediate_size": 5120, "first_k_dense_replace": 1, "num_experts": 256, "num_experts_per_tok": 8,
    "moe_intermediate_size": 512, "num_shared_experts": 1, "n_group": 8, "topk_group": 4,
    "routed_scaling_factor": 2.5, "norm_topk_prob": True, "score_function": "sigmoid", "router_dtype": "fp32",
    "moe_router_enable_expert_bias": True, "use_qk_norm": True, "partial_rotary_factor": 0.5, "rope_theta": 600000,
    "rope_scaling": None, "rms_norm_eps": 1e-06, "hidden_act": "silu", "use_bias": False, "use_qkv_bias": False,
    "tie_word_embeddings": False, "vocab_size": 157184, "pad_token_id": 156892, "max_position_embeddings": 32768,
    "norm_head": False, "norm_softmax": False, "max_window_layers": 28, "sliding_window": 4096, "use_cache": False,
    "output_router_logits": False,
}  # fmt: skip
STRANGE = {"rms_norm_eps": 0.1, "rope_theta": 50.0, "routed_scaling_factor": 1.7}  # defaults hide wrong conventions


@torch.no_grad()
def logits(model, ids, mask=None, **options):
    return model(ids, mask, **options).logits


def close(a, b, atol=1e-5):
    """Equal to 1e-5 of the largest number, or of 1."""
    return a.shape == b.shape and float((a - b).abs().max()) <= atol * max(1.0, float(b.abs().max()))


# ------------------------------------------------------------------------------------------ the arithmetic, once more


def plain_norm(x, weight, eps):
    return weight * (x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt())


def plain_mlp(x, W, path):
    gate, up, down = (W[f"{path}.{name}_proj.weight"] for name in ("gate", "up", "down"))
    h = x @ gate.T
    return (h * torch.sigmoid(h) * (x @ up.T)) @ down.T


def plain_rotation(x, position, theta, turned):
    """Turn the pairs (i, i + turned/2) of one vector x by position * theta^(-2i/turned)."""
    out = x.clone()
    for i in range(turned // 2):
        angle = torch.tensor(position * theta ** (-2 * i / turned))
        a, b = x[..., i], x[..., i + turned // 2]
        out[..., i], out[..., i + turned // 2] = a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()
    return out


def plain_experts(x, W, path, c):
    """One token x (D,): group-limited choice by biased scores, weights from the scores alone."""
    s = torch.sigmoid(W[f"{path}.gate.weight"] @ x)
    biased = s + W[f"{path}.gate.expert_bias"]
    size = c.num_experts // c.n_group
    strength = [sum(sorted(biased[g * size : (g + 1) * size].tolist())[-2:]) for g in range(c.n_group)]
    best = sorted(range(c.n_group), key=lambda g: -strength[g])[: c.topk_group]
    allowed = [e for e in range(c.num_experts) if e // size in best]
    chosen = sorted(allowed, key=lambda e: -float(biased[e]))[: c.num_experts_per_tok]
    total = sum(float(s[e]) for e in chosen)
    y = sum(c.routed_scaling_factor * s[e] / total * plain_mlp(x, W, f"{path}.experts.{e}") for e in chosen)
    return y + plain_mlp(x, W, f"{path}.shared_experts")


def plain_layers(model, ids):
    """Compute one text (L,) in float64, token by token and head by head: the state after the embedding and after every
    layer."""
    c, W, L = model.config, {k: v.double() for k, v in model.state_dict().items()}, len(ids)
    size, heads, kv = int(c.attention.split(":")[1]), c.num_attention_heads, c.num_key_value_heads
    h, states = W["model.word_embeddings.weight"][ids], []
    states.append(h)
    for i in range(c.num_hidden_layers):
        at, mixed = f"model.layers.{i}", torch.zeros(L, heads * c.head_dim, dtype=torch.float64)
        x = plain_norm(h, W[f"{at}.input_layernorm.weight"], c.rms_norm_eps)
        rows = (x @ W[f"{at}.attention.query_key_value.weight"].T).view(L, heads + 2 * kv, c.head_dim)
        q = plain_norm(rows[:, :heads], W[f"{at}.attention.query_layernorm.weight"], c.rms_norm_eps)
        k = plain_norm(rows[:, heads : heads + kv], W[f"{at}.attention.key_layernorm.weight"], c.rms_norm_eps)
        v, turned = rows[:, heads + kv :], int(c.head_dim * c.partial_rotary_factor)
        q, k = (torch.stack([plain_rotation(t[p], p, c.rope_theta, turned) for p in range(L)]) for t in (q, k))
        for head in range(heads):
            mine = head // (heads // kv)
            for p in range(L):
                seen = min((p // size + 1) * size, L)  # its own block and all before
                weight = torch.softmax(k[:seen, mine] @ q[p, head] / c.head_dim**0.5, 0)
                mixed[p, head * c.head_dim : (head + 1) * c.head_dim] = weight @ v[:seen, mine]
        h = h + mixed @ W[f"{at}.attention.dense.weight"].T
        x = plain_norm(h, W[f"{at}.post_attention_layernorm.weight"], c.rms_norm_eps)
        if i < c.first_k_dense_replace:
            h = h + plain_mlp(x, W, f"{at}.mlp")
        else:
            h = h + torch.stack([plain_experts(x[p], W, f"{at}.mlp", c) for p in range(L)])
        states.append(h)
    states[-1] = plain_norm(h, W["model.norm.weight"], c.rms_norm_eps)
    return states, states[-1] @ W["lm_head.weight"].T


@pytest.mark.parametrize(
    "changes",
    [{}, {"num_key_value_heads": 4}, {"num_key_value_heads": 1}, {"partial_rotary_factor": 1.0}]
    + [{"first_k_dense_replace": 0}, {"first_k_dense_replace": 3}, {"num_shared_experts": 2}, {"head_dim": 12}]
    + [{"n_group": 4, "topk_group": 2, "num_experts_per_tok": 3}, {"attention": "block:5"}],
    ids=str,
)
def test_every_layer_computes_what_the_description_says(changes):
    model, ids = tiny_moe(**STRANGE | changes), tiny_ids(2, 11)
    with torch.no_grad():
        out = model(ids, output_hidden_states=True)
    for b in range(2):
        states, expected = plain_layers(model, ids[b])
        for layer, (mine, theirs) in enumerate(zip(out.hidden_states, states, strict=True)):
            assert close(mine[b], theirs), f"layer {layer}: off by {float((mine[b] - theirs).abs().max()):.2e}"
        assert close(out.logits[b], expected)


def test_the_derivation_would_notice_each_convention():
    """The negative control of the test above: change one convention at a time and the logits move."""
    model, ids = tiny_moe(**STRANGE), tiny_ids(1, 11)
    _, expected = plain_layers(model, ids[0])
    for key, value in {
        "routed_scaling_factor": 1.0,
        "rope_theta": 500.0,
        "rms_norm_eps": 1e-5,
        "topk_group": 2,
        "partial_rotary_factor": 1.0,
        "attention": "block:2",
    }.items():
        other = tiny_moe(**STRANGE | {key: value})
        assert not close(logits(other, ids)[0], expected, atol=1e-2), key
    forgets = copy.deepcopy(model)
    for block in parts.blocks(forgets)[1:]:
        block.mlp.gate.expert_bias.zero_()
    assert not close(logits(forgets, ids)[0], expected, atol=1e-2)


def test_the_dense_family_with_grouped_heads_agrees_with_its_own_derivation():
    """The same for LLaDA-8B's layers, reference 4.1: no shift, no bias, halves turned against each other."""
    model, ids = tiny_model("block:4", rms_norm_eps=0.1, rope_theta=50.0, n_kv_heads=2), tiny_ids(1, 9)
    c, W, L = model.config, {k: v.double() for k, v in model.state_dict().items()}, 9
    width, at = c.d_model // c.n_heads, "model.transformer"
    h = W[f"{at}.wte.weight"][ids[0]]
    with torch.no_grad():
        out = model(ids, output_hidden_states=True)
    for i in range(c.n_layers):
        B = f"{at}.blocks.{i}"
        x, mixed = plain_norm(h, W[f"{B}.attn_norm.weight"], c.rms_norm_eps), torch.zeros(L, c.d_model).double()
        q, k, v = ((x @ W[f"{B}.{n}_proj.weight"].T).view(L, -1, width) for n in "qkv")
        q, k = (torch.stack([plain_rotation(t[p], p, c.rope_theta, width) for p in range(L)]) for t in (q, k))
        for head in range(c.n_heads):
            mine = head // (c.n_heads // c.n_kv_heads)
            for p in range(L):
                seen = min((p // 4 + 1) * 4, L)
                weight = torch.softmax(k[:seen, mine] @ q[p, head] / width**0.5, 0)
                mixed[p, head * width : (head + 1) * width] = weight @ v[:seen, mine]
        h = h + mixed @ W[f"{B}.attn_out.weight"].T
        x = plain_norm(h, W[f"{B}.ff_norm.weight"], c.rms_norm_eps)
        gate = x @ W[f"{B}.ff_proj.weight"].T
        h = h + (gate * torch.sigmoid(gate) * (x @ W[f"{B}.up_proj.weight"].T)) @ W[f"{B}.ff_out.weight"].T
        if i < c.n_layers - 1:
            assert close(out.hidden_states[i + 1][0], h), i
    h = plain_norm(h, W[f"{at}.ln_f.weight"], c.rms_norm_eps)
    assert close(out.logits[0], h @ W[f"{at}.ff_out.weight"].T)


# ------------------------------------------------------------------------------------------------ the router


def test_the_router_gives_the_golden_choice():
    """Worked out by hand. Groups (0, 1), (2, 3), (4, 5), (6, 7); two stay; three experts are chosen."""
    scores = torch.tensor([[0.9, 0.1, 0.5, 0.5, 0.2, 0.3, 0.6, 0.2]])
    bias = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 0.0, 0.0])
    # biased: .9 .1 | .5 .5 | .2 .7 | .6 .2   sums 1.0, 1.0, 0.9, 0.8: the first two groups stay
    chosen, weight = route(scores, torch.zeros(8), groups=4, best=2, k=3, scale=2.0)
    assert chosen.tolist() == [[0, 2, 3]]
    assert torch.allclose(weight, torch.tensor([[0.9, 0.5, 0.5]]) / 1.9 * 2)
    chosen, weight = route(scores, 2 * bias, groups=4, best=2, k=3, scale=2.0)  # .2 + 1.1 = 1.3: group 2 comes in
    assert chosen.tolist() == [[5, 0, 4]]
    assert torch.allclose(weight, torch.tensor([[0.3, 0.9, 0.2]]) / 1.4 * 2)  # the bias chooses and does not weigh


def test_one_expert_is_weighed_by_its_score():
    _, weight = route(torch.tensor([[0.4, 0.1, 0.2, 0.3]]), torch.zeros(4), groups=2, best=1, k=1, scale=2.5)
    assert torch.allclose(weight, torch.tensor([[1.0]]))


def test_routing_scores_are_float32_in_a_bfloat16_model():
    model, x = tiny_moe(), torch.randn(40, 32, generator=torch.Generator().manual_seed(0))
    router = parts.blocks(model)[1].mlp.gate
    half = copy.deepcopy(router).to(torch.bfloat16)
    chosen, weight = half(x.bfloat16())
    exact = copy.deepcopy(half).float()
    assert weight.dtype == torch.float32
    assert torch.equal(chosen, exact(x.bfloat16().float())[0]) and isinstance(router, Router)


def test_every_expert_reads_the_tokens_that_chose_it():
    model, ids = tiny_moe(), tiny_ids(3, 8)
    logits(model, ids)
    for block in parts.blocks(model)[1:]:
        tokens = block.mlp.tokens
        assert sum(map(len, tokens)) == 3 * 8 * 2 and len(tokens) == 8
        assert all(bool((a < b).all()) for t in tokens for a, b in [(t[:-1], t[1:])])  # each once, left to right
    assert model.loads().shape == (2, 8) and model.loads().sum(1).tolist() == [48, 48]


def test_balancing_moves_tokens_to_the_experts_that_had_few():
    model = tiny_moe()
    for block in parts.blocks(model)[1:]:
        block.mlp.gate.expert_bias.zero_()
    ids = tiny_ids(16, 16)
    spread = []
    for _ in range(60):
        logits(model, ids)
        loads = model.loads()
        spread.append(float(loads.std()))
        model.balance(loads, 0.02)
    assert spread[-1] < spread[0] / 2, (spread[0], spread[-1])


# ------------------------------------------------------------------------------------- who sees whom, and the cache


@pytest.mark.parametrize("attention, size", [("block:4", 4), ("block:3", 3), ("full", 12), ("causal", 1)])
def test_a_token_reaches_its_own_block_and_later_ones(attention, size):
    L, model = 12, tiny_moe(attention)
    ids = tiny_ids(1, L)
    changed = ids.repeat(L, 1)
    changed[range(L), range(L)] = (ids[0] + 1) % 50
    moved = (logits(model, changed) - logits(model, ids)).abs().amax(-1) > 1e-4  # (changed at, position)
    expected = torch.arange(L)[:, None] // size <= torch.arange(L) // size
    assert torch.equal(moved, expected)


def test_left_padding_changes_no_logit():
    model, ids = tiny_moe(), tiny_ids(2, 9)
    padded = torch.cat([tiny_ids(2, 5, seed=3), ids], 1)
    mask = (torch.arange(14) >= 5).long().expand(2, 14)
    assert close(logits(model, padded, mask)[:, 5:], logits(model, ids), atol=1e-4)


@pytest.mark.parametrize("keep", [slice(9, 12), torch.tensor([9, 10, 11]), torch.tensor([[4], [7]])], ids=str)
def test_some_positions_get_the_logits_of_all(keep):
    model, ids = tiny_moe(), tiny_ids()
    whole = logits(model, ids)
    expected = (
        whole[:, keep] if isinstance(keep, slice) or keep.ndim == 1 else torch.stack([whole[0, [4]], whole[1, [7]]])
    )
    assert close(logits(model, ids, logits_to_keep=keep), expected)


def test_finished_blocks_in_a_cache_give_the_logits_of_the_whole():
    model, ids, kv = tiny_moe(), tiny_ids(2, 12), KV()
    pieces = [logits(model, part, kv=kv) for part in ids.split([4, 4, 4], 1)]
    assert close(torch.cat(pieces, 1), logits(model, ids)) and len(kv) == 12


PROMPTS = [[1, 7, 9, 20, 11], [1, 8], [1, 30, 12], [1, 9, 9, 9, 9, 9, 14]]
DECODING = {"eos_token_id": 0, "max_position_embeddings": 64}


def decoded(model, cache=None, **options):
    sampler = Sampler(commit=Threshold(0.3), block_length=4, cache=cache, **options)
    return sample(model, PROMPTS, gen_length=16, sampler=sampler)


def test_the_cache_of_finished_blocks_is_exact():
    model = tiny_moe(**DECODING)
    plain, cached = decoded(model), decoded(model, BlockCache())
    assert torch.equal(plain.ids, cached.ids) and plain.trace.nfe == cached.trace.nfe
    for a, b in zip(plain.trace.steps, cached.trace.steps, strict=True):
        torch.testing.assert_close(a.confidence, b.confidence, atol=1e-5, rtol=1e-4)
    assert cached.trace.tokens_through < plain.trace.tokens_through
    full = tiny_moe("full", **DECODING)  # the control: where keys depend on later tokens a cache is no longer exact
    assert not torch.equal(decoded(full, DualCache()).ids, decoded(full).ids)


def test_editing_is_bounded_and_its_flips_are_counted():
    """An untrained model at tau = 0 changes its mind all the time: the bound ends it, and every change is written."""
    model = tiny_moe(**DECODING)
    for extra in (1, 4):
        out = decoded(model, edit=edit.Replace(tau=0.0, extra=extra))
        plain = decoded(model)
        flips = sum(len(step.edited) for step in out.trace.steps)
        assert flips > 0 and not bool((out.ids == 3).any())
        for row, prompt in enumerate(PROMPTS):
            assert out.ids[row, out.prompt_length - len(prompt) : out.prompt_length].tolist() == prompt
            assert out.trace.nfe[row] <= 16 + 4 * extra  # four blocks of four masks
        assert max(out.trace.nfe) > max(plain.trace.nfe)
    cached = decoded(model, BlockCache(), edit=edit.Replace(tau=0.0, extra=4))
    assert torch.equal(cached.ids, out.ids)


def test_sinks_are_read_off_it_and_focus_decodes_it():
    from dlmlab.attention.sinks import received
    from dlmlab.decode.focus import Focus

    model, ids = tiny_moe(), tiny_ids(2, 12)
    sums = received(model, ids)
    assert sums.shape == (3, 2, 4, 12) and close(sums.sum(-1), torch.full((3, 2, 4), 12.0))
    last = torch.tensor([0.0] * 8)  # the last block is seen by itself alone: four queries give it at most 4 in all
    assert bool((sums[..., 8:].sum(-1) <= 4 + 1e-4).all()) and bool((sums[..., :8] > last).all())
    full = tiny_moe("full", **DECODING)
    plain, fresh = decoded(full), decoded(full, Focus(refresh=1))
    assert torch.equal(plain.ids, fresh.ids)
    assert decoded(full, Focus()).trace.tokens_through < plain.trace.tokens_through


def test_flops_are_those_that_torch_counts():
    model = tiny_moe()
    for B, L, options, n in ((1, 9, {}, None), (3, 5, {}, None), (2, 8, {"logits_to_keep": torch.tensor([0, 3])}, 2)):
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(torch.ones(B, L, dtype=torch.long), **options)
        assert counter.get_total_flops() == B * forward_flops(model.config, L, logits=n)


# ------------------------------------------------------------------------------------------------ names and files


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Write down the table of reference 4.3."""
    found = {"model.word_embeddings.weight": (157184, 2048), "lm_head.weight": (157184, 2048)}
    found["model.norm.weight"] = (2048,)
    for i in range(20):
        at = f"model.layers.{i}"
        found |= {f"{at}.{n}.weight": (2048,) for n in ("input_layernorm", "post_attention_layernorm")}
        found |= {f"{at}.attention.{n}.weight": (128,) for n in ("query_layernorm", "key_layernorm")}
        found |= {f"{at}.attention.query_key_value.weight": (3072, 2048), f"{at}.attention.dense.weight": (2048, 2048)}
        mlps = {"mlp": 5120}
        if i:
            found |= {f"{at}.mlp.gate.weight": (256, 2048), f"{at}.mlp.gate.expert_bias": (256,)}
            mlps = {f"mlp.experts.{e}": 512 for e in range(256)} | {"mlp.shared_experts": 512}
        for path, hidden in mlps.items():
            found |= {f"{at}.{path}.{n}_proj.weight": (hidden, 2048) for n in ("gate", "up")}
            found[f"{at}.{path}.down_proj.weight"] = (2048, hidden)
    return found


def test_the_published_config_gives_the_published_tensors():
    start = time.process_time()
    config = LLaDA2Config.from_file(PUBLISHED)
    model = empty_model(config)
    seconds = time.process_time() - start
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == published_shapes()
    assert len(model.state_dict()) == 14_813 and seconds < 5
    assert count_parameters(model) + 19 * 256 == sum(torch.Size(s).numel() for s in published_shapes().values())
    assert round(count_parameters(model) / 1e9, 2) == 16.26
    assert (config.attention, config.mask_token_id, config.rotary_width) == ("block:32", 156_895, 64)


def test_what_a_published_config_leaves_out_has_the_defaults_of_its_class():
    values = {k: v for k, v in PUBLISHED.items() if k not in ("rms_norm_eps", "rope_theta", "n_group", "head_dim")}
    config = LLaDA2Config.from_file(values)
    assert (config.rms_norm_eps, config.rope_theta, config.n_group, config.head_dim) == (1e-5, 10_000.0, 8, 128)
    with pytest.raises(ValueError, match="use_bias"):
        LLaDA2Config.from_file({k: v for k, v in PUBLISHED.items() if k != "use_bias"})
    with pytest.raises(ValueError, match="intermediate_size = None"):
        LLaDA2Config.from_file({k: v for k, v in PUBLISHED.items() if k != "intermediate_size"})


def test_a_config_of_ours_says_everything(tmp_path):
    tiny_moe().config.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    again = LLaDA2Config.from_file(values)
    assert again.to_dict() == tiny_moe().config.to_dict()
    for key in ("rope_theta", "attention", "mask_token_id", "n_group", "routed_scaling_factor"):
        with pytest.raises(ValueError, match=f"not guessed: {key}"):
            LLaDA2Config.from_file({k: v for k, v in values.items() if k != key})


@pytest.mark.parametrize(
    "changes, word",
    [({"num_key_value_heads": 3}, "no multiple"), ({"partial_rotary_factor": 0.4}, "turns pairs")]
    + [({"n_group": 3}, "groups are alike"), ({"n_group": 8}, "two experts or more"), ({"topk_group": 3}, "more than")]
    + [({"num_experts_per_tok": 5}, "more than there are"), ({"mask_token_id": 50}, "mask_token_id = 50")]
    + [({"mask_token_id": None}, "mask_token_id = None"), ({"use_bias": True}, "use_bias = True")]
    + [({"score_function": "softmax"}, "score_function"), ({"rope_scaling": {"factor": 2}}, "rope_scaling")]
    + [({"hidden_size": 0}, "hidden_size = 0"), ({"d_model": 7}, "another name of hidden_size")]
    + [({"rms_norm_eps": float("nan")}, "rms_norm_eps"), ({"num_experts": True}, "num_experts = True")]
    + [({"attention": "block:0"}, "attention"), ({"num_shared_experts": 0}, "num_shared_experts = 0")]
    + [({"tie_word_embeddings": True}, "tie_word_embeddings"), ({"norm_topk_prob": False}, "norm_topk_prob")]
    + [({"rotary_dim": 2}, "rotary_dim = 2; by the other values it is 4"), ({"rotary_dim": 4.0}, "rotary_dim = 4.0")]
    + [({"use_rmsnorm": False}, "use_rmsnorm = False"), ({"attention_bias": True}, "attention_bias = True")]
    + [({"norm_softmax": True}, "norm_softmax"), ({"using_split_qkv_in_self_attention": True}, "using_split_qkv")],
    ids=str,
)
def test_a_value_that_cannot_be_is_named(changes, word):
    with pytest.raises(ValueError, match=word):
        LLaDA2Config(**MOE | changes)


def test_the_config_of_the_training_code_is_read(tmp_path):
    """dFactory, `configs/model_configs/llada2_mini`: another name of the class, and the same things said twice."""
    said = {"model_type": "llada2_moe_veomni", "rotary_dim": 64, "use_rmsnorm": True, "use_sliding_window": False}
    said |= {"using_split_qkv_in_self_attention": False, "max_position_embeddings": 16_384}
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED | said), encoding="utf-8")
    config = checkpoint.read_config(tmp_path)
    assert (config.model_type, config.rotary_width) == ("llada2_moe", 64)
    assert len(empty_model(config).state_dict()) == 14_813
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED | said | {"rotary_dim": 32}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="rotary_dim = 32; by the other values it is 64"):
        checkpoint.read_config(tmp_path)


def test_the_short_names_of_the_course_read_the_published_ones():
    config = tiny_moe().config
    assert (config.d_model, config.n_layers, config.n_heads, config.n_kv_heads) == (32, 3, 4, 2)
    assert (config.mlp_hidden_size, config.max_sequence_length, config.embedding_size) == (48, 32, 50)
    assert isinstance(config, LLaDAConfig)


@pytest.mark.parametrize("auto", [AutoModelForMaskedLM, AutoModel])
def test_the_auto_classes_and_our_loader_read_what_is_saved(auto, tmp_path):
    model, ids = tiny_moe(), tiny_ids()
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    for again in (auto.from_pretrained(tmp_path), load_model(tmp_path)):
        assert type(again) is LLaDA2MoeModelLM
        assert torch.equal(logits(again, ids), logits(model, ids))


def test_experts_merged_into_one_tensor_load_as_the_separate_ones(tmp_path):
    model, ids = tiny_moe(), tiny_ids()
    tensors = dict(model.state_dict())
    for i in (1, 2):
        for which in ("gate_proj", "up_proj", "down_proj"):
            path = f"model.layers.{i}.mlp.experts"
            tensors[f"{path}.{which}"] = torch.stack([tensors.pop(f"{path}.{e}.{which}.weight") for e in range(8)])
    model.config.save_pretrained(tmp_path)
    save_file(tensors, tmp_path / "model.safetensors")
    assert torch.equal(logits(load_model(tmp_path), ids), logits(model, ids))
    values = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(values | {"model_type": "llada2_moe_veomni"}), encoding="utf-8")
    assert torch.equal(logits(load_model(tmp_path), ids), logits(model, ids))  # as dFactory calls it
    assert merged("model.layers.1.mlp.experts.0.up_proj.weight", (2, 3)) is None
    short = {k: v[:7].clone() if k.endswith("experts.up_proj") else v for k, v in tensors.items()}
    save_file(short, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing: model.layers.1.mlp.experts.7.up_proj.weight"):
        load_model(tmp_path)


def test_the_bias_of_the_experts_stays_float32(tmp_path):
    model = tiny_moe()
    model.save_pretrained(tmp_path)
    half = load_model(tmp_path, dtype=torch.bfloat16)
    kinds = {k: v.dtype for k, v in half.state_dict().items()}
    assert {v for k, v in kinds.items() if not k.endswith("expert_bias")} == {torch.bfloat16}
    assert torch.equal(half.model.layers[1].mlp.gate.expert_bias, model.model.layers[1].mlp.gate.expert_bias)


# ------------------------------------------------------------------------------------------------ damage

ODD = [None, True, -1, 0, 1, 3, 5, 2.5, 1e400, float("nan"), 10**9, 10**400, "", "x", [], [1], {}, {"a": 1}]


def damaged(folder, config: dict, tensors: dict, raw: bytes, draw: random.Random) -> str:
    """Spoil one thing of a folder, drawn at random; returns what."""
    kind = draw.choice(["key", "lost key", "name", "lost", "more", "shape", "type", "value", "bytes", "cut"])
    name, key = draw.choice(sorted(tensors)), draw.choice(sorted(config))
    W = tensors[name]
    rest = {k: v for k, v in tensors.items() if k != name}
    if kind in ("key", "lost key"):
        odd = draw.choice(ODD)
        new = {k: v for k, v in config.items() if k != key} | ({key: odd} if kind == "key" else {})
        text = json.dumps({k: "GIANT" if v == 10**400 else v for k, v in new.items()})
        (folder / "config.json").write_text(text.replace('"GIANT"', "1" + "0" * 400), encoding="utf-8")
        return f"{kind} of the config: {key} {str(odd)[:20]}"
    if kind in ("bytes", "cut"):
        end = 8 + int.from_bytes(raw[:8], "little")
        at = draw.randrange(end) if kind == "bytes" else draw.randrange(len(raw))
        new = raw[:at] + bytes([raw[at] ^ 1 << draw.randrange(8)]) + raw[at + 1 :] if kind == "bytes" else raw[:at]
        (folder / "model.safetensors").write_bytes(new)
        return f"{kind} at {at}"  # of the file
    other = draw.choice(sorted(rest))
    spoilt = W.clone()
    spoilt.view(-1)[draw.randrange(W.numel())] = draw.choice([float("nan"), float("inf"), float("-inf")])
    made = {
        "name": rest | {draw.choice([name + "x", name.replace(".", "_", 1), name.upper()]): W},
        "lost": rest,
        "more": tensors | {name + "2": W.clone()},
        "shape": rest | {name: draw.choice([W[None], W[:-1], W.flatten()[1:], W[:0], torch.cat([W, W])]).clone()},
        "type": rest | {name: W.to(draw.choice([torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn]))},
        "value": rest | {name: spoilt},
    }[kind]
    save_file({k: v.contiguous() for k, v in made.items()}, folder / "model.safetensors")
    return f"{kind} {name} {other}"


def test_a_thousand_damaged_checkpoints_load_right_or_are_refused(tmp_path):
    """None crashes, hangs or gives other logits. What is another sound model is left out: nothing in a folder tells."""
    sizes = {"num_hidden_layers": 2, "first_k_dense_replace": 1, "n_group": 2, "num_experts": 4}
    model, ids = tiny_moe(**sizes), tiny_ids(1, 6)
    checkpoint.save_model(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    tensors, raw = load_file(tmp_path / "model.safetensors"), (tmp_path / "model.safetensors").read_bytes()
    expected, draw, refused, start = logits(model, ids), random.Random(0), 0, time.process_time()
    told = ("rope_theta", "routed_scaling_factor", "topk_group", "num_experts_per_tok", "n_group", "attention")
    told += ("partial_rotary_factor", "rms_norm_eps")
    for _ in range(1000):
        what = damaged(tmp_path, config, tensors, raw, draw)
        try:
            found = load_model(tmp_path)
        except CheckpointError as error:
            refused += 1
            assert str(tmp_path) in str(error), what
        else:
            sound = torch.equal(logits(found, ids), expected)
            assert sound or any(word in what for word in told), what
        if "of the config" in what:
            (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        else:
            (tmp_path / "model.safetensors").write_bytes(raw)
    assert refused > 700 and time.process_time() - start < 60


# ------------------------------------------------------------------------------------------------ compression


def calibration(N=12, L=10):
    from tests.compress.cases import tiny_calibration

    return tiny_calibration(N, L)


def test_the_matrices_are_all_but_the_router_and_the_norms():
    model = tiny_moe()
    state = model.state_dict()
    for name, W in parts.weights(model).items():
        assert torch.equal(state["model.layers." + name.removeprefix("blocks.") + ".weight"], W)
    left = {k for k in state if k.removesuffix(".weight").replace("model.layers", "blocks") not in parts.weights(model)}
    assert all("norm" in k or ".gate." in k or "embeddings" in k or k == "lm_head.weight" for k in left)
    assert set(parts.weights(model)) == model.config.matrix_names()


def test_an_expert_counts_its_own_tokens():
    model, calib = tiny_moe(), calibration()
    found = activations.collect(model, calib, gram=True, batch_size=5)
    seen = {}
    hooks = [
        matrix.register_forward_pre_hook(lambda m, x, name=f"blocks.{i}.{name}": seen.setdefault(name, x[0]))
        for i, block in enumerate(parts.blocks(model))
        for name, matrix in parts.matrices(block).items()
    ]
    tokens = {}
    with torch.no_grad():
        model(calib.ids, calib.real)
    for i, block in list(enumerate(parts.blocks(model)))[1:]:
        tokens |= {f"blocks.{i}.mlp.experts.{e}": t for e, t in enumerate(block.mlp.tokens)}
    for hook in hooks:
        hook.remove()
    for name, x in seen.items():
        at = tokens.get(name.rpartition(".")[0])
        real = calib.real.flatten() if at is None else calib.real.flatten()[at]
        X = x.flatten(0, -2)[real].double()
        torch.testing.assert_close(found[name].gram, X.T @ X, rtol=1e-4, atol=1e-4)
        assert found[name].tokens == len(X)


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_pruning_takes_every_matrix(method):
    model = tiny_moe()
    small = pruning.prune(model, pruning.Recipe(method, 0.5), calib=calibration(40))
    shares = [float((W == 0).float().mean()) for W in parts.weights(small).values()]
    assert min(shares) > 0.4 and max(shares) < 0.6
    assert logits(small, tiny_ids()).isfinite().all() and not close(
        logits(small, tiny_ids()), logits(model, tiny_ids())
    )


@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_a_quantized_model_is_packed_and_read_again(method, tmp_path):
    from dlmlab.network.codes import QSpec

    model, ids, spec = tiny_moe(), tiny_ids(), QSpec(4)
    calib = calibration(40) if method == "gptq" else None
    fake = registry.compress(model, method, spec, calib=calib)
    real = registry.compress(model, method, spec, calib=calib, packed=True)
    assert torch.equal(logits(real, ids), logits(fake, ids))
    checkpoint.save_model(real, tmp_path)
    assert torch.equal(logits(load_model(tmp_path), ids), logits(fake, ids))


def test_an_expert_that_read_nothing_is_named():
    model = tiny_moe()
    parts.blocks(model)[1].mlp.gate.expert_bias[5] = -10.0
    with pytest.raises(ValueError, match=r"blocks\.1\.mlp\.experts\.5\.gate_proj.*routed.*more texts"):
        pruning.prune(model, pruning.Recipe("wanda", 0.5), calib=calibration())
    recipe = pruning.Recipe("wanda", 0.5)
    rest = registry.compress(
        model, "wanda", lambda name: None if "1.mlp.experts.5." in name else recipe, calib=calibration()
    )
    idle = "blocks.1.mlp.experts.5.up_proj"
    assert torch.equal(parts.weights(rest)[idle], parts.weights(model)[idle])
    assert float((parts.weights(rest)["blocks.1.mlp.experts.4.up_proj"] == 0).float().mean()) == 0.5
    small = pruning.prune(model, pruning.Recipe("magnitude", 0.5))  # looks at no text
    assert float((parts.weights(small)["blocks.1.mlp.experts.5.gate_proj"] == 0).float().mean()) == 0.5


def test_what_knows_the_dense_block_only_says_so():
    from dlmlab.attention import interventions
    from dlmlab.compress import removal
    from dlmlab.compress.quant import rotation, smooth

    model = tiny_moe(num_key_value_heads=4)
    found = activations.collect(model, calibration(40), gram=True)
    ids, keys = tiny_ids(), torch.zeros(2, 12, dtype=torch.bool)
    for refused in (
        lambda: removal.remove_units(model, "heads", {0: [1]}),
        lambda: removal.remove_units(model, "neurons", {0: [1]}),
        lambda: removal.choose_units(model, "neurons", 0.5, "magnitude"),
        lambda: removal.remove_layers(model, [1]),
        lambda: rotation.rotate(model, torch.Generator().manual_seed(0)),
        lambda: smooth.smooth(model, found),
        lambda: interventions.empty_values(model, ids, keys),
    ):
        with pytest.raises(ValueError, match="LLaDA2Block has fused .* know LLaDA's dense block only"):
            refused()


def test_blocks_are_read_from_the_first_to_the_last():
    """What `FOCUS` and other loops over blocks rely on: a forward is made of its parts."""
    model, ids = tiny_moe(), tiny_ids()
    with torch.inference_mode():
        h, frame = parts.embed(model, ids), model.frame(ids, None, None, None)
        for block in parts.blocks(model):
            h, _ = block.mix(h, *parts.project(block, h, frame.rope), frame.mask)
        torch.testing.assert_close(parts.predict(model, h), logits(model, ids))
    assert all(a is not b for a, b in pairwise(parts.blocks(model)))
