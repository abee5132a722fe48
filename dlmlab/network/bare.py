"""LLaDA's forward without the class: what remains when modules, hooks and separate products are taken away.

    sample(Bare(model), prompts)                              # decodes as the model does, without caches
    logits = Bare(model)(ids, mask).logits

Queries, keys and values come from one joined matrix, gate and up from another; a norm is one call, queries and keys are
turned together, and the rotation is worked out once. What the readable class is for is missing: statistics, caches,
hooks, other kinds of attention, gradients. It answers one question: how much of the time of a forward is the class?
(`bench --only exact`.) Inference engines fuse the same products and call them `qkv_proj` and `gate_up_proj`.

The joined matrices are copies: a weight that is changed later is not seen.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM, LLaDAOutput, attention_bias, pick


class Bare:
    """The forward of a model with full attention and plain blocks, on a CPU in float32, as a function.

    Raises `ValueError` for any other model.
    """

    def __init__(self, model: LLaDAModelLM):
        c, self.head = model.config, model.pieces.head
        if c.attention != "full" or c.n_kv_heads != c.n_heads or self.head.weight.dtype != torch.float32:
            raise ValueError(
                f"full attention, a key for every query and float32 only, not attention={c.attention!r}, {c.n_heads} "
                f"queries on {c.n_kv_heads} keys, {self.head.weight.dtype}"
            )
        self.config, self.embedding, self.norm = c, model.pieces.embedding, model.pieces.norm.weight.detach()
        self.layers = []
        for block in map(parts.check_plain, parts.blocks(model)):
            joined = [torch.cat([block.get_submodule(name).weight for name in names]) for names in parts.READERS]
            tensors = (block.attn_norm.weight, block.ff_norm.weight, *joined)
            self.layers.append((block.heads, *(tensor.detach() for tensor in tensors)))
        self.rope = [t[0, 0] for t in model.rope(torch.arange(c.max_sequence_length)[None])]  # (L, D/H) each

    @torch.inference_mode()
    def __call__(
        self, ids: Tensor, attention_mask: Tensor | None = None, logits_to_keep: Tensor | slice | None = None
    ) -> LLaDAOutput:
        """Predict every position of `ids` (B, L), or those to keep, as `LLaDAModelLM.read` does; only logits come."""
        (B, L), eps, width = ids.shape, self.config.rms_norm_eps, self.config.head_width
        (cos, sin), at = (t[:L] for t in self.rope), torch.arange(L)
        bias = attention_bias(at[None], at, None, attention_mask, torch.float32)
        h = self.embedding(ids)  # (B, L, D)
        for i, (heads, attn_norm, ff_norm, qkv, out, gate_up, down) in enumerate(self.layers):
            x = F.linear(F.rms_norm(h, h.shape[-1:], attn_norm, eps), qkv).view(B, L, -1, width).transpose(1, 2)
            turned, v = x[:, : 2 * heads], x[:, 2 * heads :]
            q, k = (turned * cos + turned.roll(width // 2, -1) * sin).chunk(2, 1)  # (B, H, L, D/H)
            if i == len(self.layers) - 1 and logits_to_keep is not None:
                h, q = pick(h, logits_to_keep), pick(q.transpose(1, 2), logits_to_keep).transpose(1, 2)
                bias = bias if bias is None else pick(bias[:, 0], logits_to_keep)[:, None]
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
            h = h + F.linear(mixed.transpose(1, 2).flatten(2), out)
            gate, up = F.linear(F.rms_norm(h, h.shape[-1:], ff_norm, eps), gate_up).chunk(2, -1)
            h = h + F.linear(F.silu(gate) * up, down)
        return LLaDAOutput(logits=self.head(F.rms_norm(h, h.shape[-1:], self.norm, eps)))
