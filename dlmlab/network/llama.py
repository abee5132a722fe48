"""A published Llama in the course's own class: the same arithmetic, other names.

So what prunes, quantizes and measures the course's models takes these too. Source: the layer of Transformers' `llama`.
"""

import torch

from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM

NAMES = {  # of a block: the course's, Llama's
    "attn_norm": "input_layernorm",
    "ff_norm": "post_attention_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
}


def converted(llama) -> LLaDAModelLM:
    """Put the weights of a Llama of Transformers (no biases, plain rotary positions) into the course's causal class.

    The new model shares its tensors. Raises `ValueError` for what the course's class does not compute.
    """
    c = llama.config
    plain = c.rope_parameters["rope_type"] == "default" and not (c.attention_bias or c.mlp_bias)
    if not plain or c.hidden_act != "silu" or c.head_dim * c.num_attention_heads != c.hidden_size:
        raise ValueError(f"a Llama with {c.rope_parameters}, {c.hidden_act}, biases or wide heads is not computed here")
    config = LLaDAConfig(
        d_model=c.hidden_size,
        n_heads=c.num_attention_heads,
        n_kv_heads=c.num_key_value_heads,
        n_layers=c.num_hidden_layers,
        mlp_hidden_size=c.intermediate_size,
        vocab_size=c.vocab_size,
        max_sequence_length=c.max_position_embeddings,
        rope_theta=c.rope_parameters["rope_theta"],
        rms_norm_eps=c.rms_norm_eps,
        mask_token_id=c.unk_token_id if getattr(c, "unk_token_id", None) is not None else 0,
        attention="causal",
    )
    with torch.device("meta"):
        model = LLaDAModelLM(config)
    named = {"model.transformer.wte.weight": llama.model.embed_tokens.weight}
    named |= {"model.transformer.ln_f.weight": llama.model.norm.weight}
    named |= {"model.transformer.ff_out.weight": llama.lm_head.weight}
    for i, layer in enumerate(llama.model.layers):
        for ours, theirs in NAMES.items():
            named[f"model.transformer.blocks.{i}.{ours}.weight"] = layer.get_submodule(theirs).weight
    model.load_state_dict({name: weight.detach() for name, weight in named.items()}, assign=True)
    return model.eval()
