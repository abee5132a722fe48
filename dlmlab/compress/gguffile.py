"""A LLaDA model as one GGUF file, as llama.cpp reads it, and back.

    gguffile.write(model, "model.gguf", "Q8_0")
    model = gguffile.read("model.gguf", model.config)

Decisions
* llama.cpp turns the pairs (2i, 2i + 1) of a head by the position, this model the pairs (i, i + half): the rows of the
  query and key matrices are re-ordered on the way (`interleave`), and the scores are the same. `reorder=False` leaves
  it out, as a control: the file is read without a complaint and holds another model.
* Only matrices are stored in few bits; norms stay float32. A matrix whose rows are not made of whole blocks falls back
  to another kind (`plan`): that is how llama.cpp does it, and its log is the only place where it says so.
* Ids in, ids out: the file has no vocabulary. A vocabulary of whole words is none of the kinds that llama.cpp knows.
* The package `gguf` writes and reads the container, and is an extra; the blocks are ours (`dlmlab.ggml`).

Source: `conversion/llada.py` and `src/models/llada.cpp` of llama.cpp 0.5.0 (MIT).
"""

import copy
import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from dlmlab.compress.quant import ggml

NAMES = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "attn_out": "attn_output", "ff_proj": "ffn_gate"}
NAMES |= {"up_proj": "ffn_up", "ff_out": "ffn_down", "attn_norm": "attn_norm", "ff_norm": "ffn_norm"}
TURNED = ("attn_q", "attn_k")
FALLBACK = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}  # as llama.cpp has it


def missing() -> str:
    """Say in one sentence what to install; "" when it is there."""
    if importlib.util.find_spec("gguf") is None:
        return "gguf not installed: `pip install --no-deps gguf`"
    return ""


def interleave(W: Tensor, heads: int) -> Tensor:
    """Re-order the rows of a query or key matrix, from pairs (i, i + half) to pairs (2i, 2i + 1) in each head.

    Row i of a head's first half goes to place 2i, row i of its second half to place 2i + 1. Shapes: (heads d, C) ->
    (heads d, C). Source: notebook 18, exercise 18.2; `permute` of llama.cpp's converter.

    >>> interleave(torch.arange(8)[:, None], heads=2).flatten().tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    return W.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def separate(W: Tensor, heads: int) -> Tensor:
    """Undo `interleave`.

    >>> separate(torch.tensor([0, 2, 1, 3])[:, None], heads=1).flatten().tolist()
    [0, 1, 2, 3]
    """
    return W.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def name_of(name: str) -> str:
    """Translate the name of a weight: that of `state_dict` to that of GGUF. Raises `ValueError` for an unknown one.

    >>> name_of("model.transformer.blocks.2.ff_out.weight"), name_of("model.transformer.ff_out.weight")
    ('blk.2.ffn_down.weight', 'output.weight')
    """
    parts = name.removeprefix("model.transformer.").split(".")
    if parts[0] == "blocks" and parts[2] in NAMES:
        return f"blk.{parts[1]}.{NAMES[parts[2]]}.weight"
    whole = {"wte": "token_embd", "ln_f": "output_norm", "ff_out": "output"}
    if parts[0] not in whole:
        raise ValueError(f"{name}: no weight of a dense LLaDA model")
    return f"{whole[parts[0]]}.weight"


def plan(model: nn.Module, kind: str) -> dict[str, str]:
    """Say in which kind each weight is stored: norms in F32, matrices in `kind`, or in what it falls back to where rows
    are not made of whole blocks. Raises `ValueError` for an unknown kind."""
    ggml.bits(kind)
    found = {}
    for name, W in model.state_dict().items():
        fits = ggml.fits(kind, W.shape[-1])
        found[name_of(name)] = "F32" if W.ndim == 1 else kind if fits else FALLBACK.get(kind, "F16")
    return found


def size(model: nn.Module, kind: str) -> int:
    """Count the bytes of the weights alone, as `plan` stores them."""
    kinds = plan(model, kind)
    return round(sum(W.numel() * ggml.bits(kinds[name_of(name)]) / 8 for name, W in model.state_dict().items()))


def write(model: nn.Module, path: str | Path, kind: str = "F32", *, reorder: bool = True) -> Path:
    """Write a dense LLaDA model. Raises `ValueError` with the sentence of `missing`, for packed or pruned models, and
    for a kind that `ggml.encode` does not write."""
    if sentence := missing():
        raise ValueError(sentence)
    import gguf

    c, path = model.config, Path(path)
    if c.layer_heads or c.layer_mlp or c.quantization:
        raise ValueError("a model whose layers differ, or whose matrices are packed, is no plain LLaDA model")
    to = gguf.GGUFWriter(path, "llada")
    to.add_context_length(c.max_sequence_length)
    to.add_embedding_length(c.d_model)
    to.add_block_count(c.n_layers)
    to.add_feed_forward_length(c.mlp_hidden_size)
    to.add_head_count(c.n_heads)
    to.add_head_count_kv(c.n_kv_heads)
    to.add_rope_dimension_count(c.head_width)
    to.add_rope_freq_base(c.rope_theta)
    to.add_layer_norm_rms_eps(c.rms_norm_eps)
    to.add_causal_attention(False)
    to.add_diffusion_shift_logits(False)  # a missing key would mean true
    to.add_vocab_size(c.embedding_size)
    to.add_tokenizer_model("none")
    for name, W in model.state_dict().items():
        theirs = name_of(name)
        if reorder and theirs.split(".")[-2] in TURNED:
            W = interleave(W, c.n_heads if theirs.endswith("attn_q.weight") else c.n_kv_heads)
        mine = plan(model, kind)[theirs]
        data, of = ggml.encode(W, mine).numpy(), getattr(gguf.GGMLQuantizationType, mine)
        if mine in ("F32", "F16"):
            to.add_tensor(theirs, data.view("float32" if mine == "F32" else "float16"))
        else:
            to.add_tensor(theirs, data, raw_dtype=of)
    to.write_header_to_file()
    to.write_kv_data_to_file()
    to.write_tensors_to_file()
    to.close()
    return path


def held(model: nn.Module, kind: str = "F32", *, reorder: bool = True) -> nn.Module:
    """Give a copy of `model` with the weights that a file of this kind would hold, without writing one: the same
    numbers as `read(write(...))`. Raises `ValueError` for a kind that `ggml.encode` does not write."""
    new, c, kinds = copy.deepcopy(model), model.config, plan(model, kind)
    state = new.state_dict()
    for name, W in state.items():
        theirs = name_of(name)
        turned = theirs.split(".")[-2] in TURNED
        heads = c.n_heads if theirs.endswith("attn_q.weight") else c.n_kv_heads
        W = ggml.decode(ggml.encode(interleave(W, heads) if turned and reorder else W, kinds[theirs]), kinds[theirs])
        state[name] = separate(W, heads) if turned else W
    new.load_state_dict(state)
    return new


def tensors(path: str | Path) -> dict[str, tuple[str, Tensor]]:
    """Read the weights of a file: kind and values in float32 by name, every kind by the package `gguf`."""
    if sentence := missing():
        raise ValueError(sentence)
    import gguf

    found = {}
    for one in gguf.GGUFReader(path).tensors:
        values = torch.from_numpy(gguf.quants.dequantize(one.data, one.tensor_type).astype("float32"))
        found[one.name] = (one.tensor_type.name, values.reshape([int(n) for n in reversed(one.shape)]))
    return found


def read(path: str | Path, model: nn.Module) -> nn.Module:
    """Give a copy of `model` with the weights of a file: what llama.cpp computes, but for the rounding of inputs.

    The rows of queries and keys are put back. Raises `ValueError` for a file whose weights are not those of the model.
    """
    held, new, c = tensors(path), copy.deepcopy(model), model.config
    state = new.state_dict()
    names = {name: name_of(name) for name in state}
    if set(held) != set(names.values()):
        raise ValueError(f"{Path(path).name} has {len(held)} weights, the model {len(names)}, and not the same")
    for name, theirs in names.items():
        W = held[theirs][1]
        if theirs.split(".")[-2] in TURNED:
            W = separate(W, c.n_heads if theirs.endswith("attn_q.weight") else c.n_kv_heads)
        state[name] = W
    new.load_state_dict(state)
    return new
