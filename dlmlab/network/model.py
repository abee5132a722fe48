"""The LLaDA transformer as a Hugging Face model: LLaDA-mini and LLaDA-8B are two `config.json` of this one class.

Decisions
* Tensor names and config keys are those of `GSAI-ML/LLaDA-8B-Base`, so its checkpoint loads without renaming. Beware
  of `ff_out`: it names the down projection of a block *and* the head of the model.
* Logits predict the *same* position (no shift); the network does not see the time `t`.
* `config.attention` is `full` (diffusion), `causal` (the autoregressive twin) or `block:K` (block-causal, block length
  K). Nothing else differs.
* Keys are cached after RoPE with their positions fixed; a cache is exact for `causal` and `block:K`, an approximation
  for `full`. New tokens are appended; with `positions=` they replace what the cache holds there.
* Where only some positions are asked for (`logits_to_keep`), the last block computes keys and values everywhere and
  the rest only there: no other position is read any more.
* Attention statistics never change the result: column sums are made head by head without keeping an L x L map per
  layer.
* Another family (`dlmlab.moe`) has other tensors: it says what its `pieces` are and how its blocks project, mix and
  feed; `read` knows no more of a family than that.

Sources: Nie et al., LLaDA, arXiv 2502.09992 (section 2 and appendix B); Su et al., RoPE, arXiv 2104.09864; Shazeer,
SwiGLU, arXiv 2002.05202.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, DynamicCache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from dlmlab.network import blockwise, packed
from dlmlab.network.config import LLaDAConfig, attention_block
from dlmlab.network.interface import Interface
from dlmlab.network.kv import KV

KERNELS = ("fused", "explicit")  # how attention is computed when nobody wants its weights
UNLABELLED = -100  # Transformers' label of a position that is not to be learned


@dataclass
class LLaDAOutput(ModelOutput):
    """Result of a forward pass.

    `loss` when labels were passed · `logits` (B, q, V) float32 · `past_key_values`, `kv` the cache that was passed ·
    `hidden_states` (B, L, D) each: the embeddings, then what each block gives, the last after the final norm ·
    `attentions` one (B, H, L, K) map a layer · `column_sums` one (B, H, K) tensor a layer: attention received by each
    key, summed over real queries.
    """

    loss: Tensor | None = None  # first, as Transformers' tuples have it
    logits: Tensor | None = None
    past_key_values: DynamicCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    kv: KV | None = None
    column_sums: tuple[Tensor, ...] | None = None


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32, cast back, then scaled (LLaDA's order)."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        h = x.float()
        h = h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * h.to(x.dtype)


def rope_table(positions: Tensor, width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Make cosine and sine of the rotation angles, (..., L, width) each for positions (..., L), in float32.

    angle[l, i] = positions[l] * theta^(-2i/width), the same angle for element i and i + width/2. The sine is negative
    in the first half: element i gets -sin of its partner, element i + width/2 gets +sin.
    """
    inv_freq = theta ** (-torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width)
    angles = positions.float()[..., None] * inv_freq  # (..., L, width/2)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first elements of queries or keys, (B, H, L, width), as many as the table has, in float32 and cast
    back; the others pass through."""
    turned, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    h = turned.float()
    partner = h.roll(h.shape[-1] // 2, -1)  # element i and i + width/2 change places
    turned = (h * cos + partner * sin).to(x.dtype)
    return torch.cat([turned, rest], -1) if rest.shape[-1] else turned


class Block(GradientCheckpointingLayer):
    """Pre-norm attention and SwiGLU, without biases.

    The base class is a plain `nn.Module` that can forget its activations and compute them again in the backward pass.
    """

    def __init__(self, config: LLaDAConfig, layer: int = 0):
        super().__init__()
        D, width = config.d_model, config.head_width
        self.heads, self.kv_heads, hidden = config.layer_shape(layer)
        self.width = width
        self.attn_norm = RMSNorm(D, config.rms_norm_eps)
        self.ff_norm = RMSNorm(D, config.rms_norm_eps)
        self.q_proj = nn.Linear(D, self.heads * width, bias=False)
        self.k_proj = nn.Linear(D, self.kv_heads * width, bias=False)
        self.v_proj = nn.Linear(D, self.kv_heads * width, bias=False)
        self.attn_out = nn.Linear(self.heads * width, D, bias=False)
        self.ff_proj = nn.Linear(D, hidden, bias=False)  # gate
        self.up_proj = nn.Linear(D, hidden, bias=False)
        self.ff_out = nn.Linear(hidden, D, bias=False)  # down

    def key_value(self, x: Tensor, rope) -> tuple[Tensor, Tensor]:
        """Project normed tokens `x` (B, q, D) to rotated keys and to values, (B, H_kv, q, D/H) each."""
        shape = (*x.shape[:2], self.kv_heads, self.width)
        k, v = (project(x).view(shape).transpose(1, 2) for project in (self.k_proj, self.v_proj))
        return rotate(k, *rope), v

    def query(self, x: Tensor, rope) -> Tensor:
        """Project normed tokens `x` (B, q, D) to rotated queries, (B, H, q, D/H)."""
        return rotate(self.q_proj(x).view(*x.shape[:2], self.heads, self.width).transpose(1, 2), *rope)

    def mix(self, h: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, want: str = "fused"):
        """Let the queries of `h` (B, q, D) read all keys and values, then transform each token by itself.

        Returns the new `h` and the attention weights, or None when they are not wanted (`attend`).
        """
        if self.kv_heads != self.heads:
            k, v = (x.repeat_interleave(self.heads // self.kv_heads, 1) for x in (k, v))
        out, weights = attend(q, k, v, mask, want)
        h = h + self.output(out.transpose(1, 2).flatten(2))
        return h + self.feed(h), weights

    def output(self, mixed: Tensor) -> Tensor:
        """Project what the heads have read, (B, q, H * D/H) -> (B, q, D)."""
        return self.attn_out(mixed)

    def feed(self, h: Tensor) -> Tensor:
        """Transform each token of `h` (B, q, D) by itself."""
        x = self.ff_norm(h)
        return self.ff_out(F.silu(self.ff_proj(x)) * self.up_proj(x))

    def project(self, h: Tensor, rope) -> tuple[Tensor, Tensor, Tensor]:
        """Make queries (B, H, q, D/H), keys and values (B, H_kv, q, D/H) of tokens `h` (B, q, D)."""
        x = self.attn_norm(h)
        return self.query(x, rope), *self.key_value(x, rope)

    def forward(self, h: Tensor, rope, mask: Tensor | None, store, keep: Tensor | slice | None, want: str):
        """Run the block: `store(k, v)` returns all keys and values; only positions `keep` go on, None for all."""
        x = self.attn_norm(h)
        k, v = store(*self.key_value(x, rope))
        if keep is not None:
            h, x, rope = pick(h, keep), pick(x, keep), tuple(pick(t[:, 0], keep)[:, None] for t in rope)
            mask = mask if mask is None else pick(mask[:, 0], keep)[:, None]
        return self.mix(h, self.query(x, rope), k, v, mask, want)


def pick(x: Tensor, keep: Tensor | slice) -> Tensor:
    """Take positions of `x` (B, L, ...): the same for all rows, a slice or (n,), or its own for each row, (B, n)."""
    if isinstance(keep, slice) or keep.ndim == 1:
        return x[:, keep]
    x = x.expand(len(keep), *x.shape[1:])
    return x.gather(1, keep.view(*keep.shape, *[1] * (x.ndim - 2)).expand(*keep.shape, *x.shape[2:]))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, want: str) -> tuple[Tensor, Tensor | None]:
    """Attend with the fused kernel, or with explicit matrices when weights are wanted.

    `mask` is additive, broadcastable to (B, H, L, K). `want` is `fused`, `explicit` (no weights returned: on a CPU the
    backward pass of two matrix products is twice as fast as the fused one at these lengths) or `maps` (weights
    returned).
    """
    if want == "fused":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask), None
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    weights = (scores if mask is None else scores + mask).softmax(-1)
    return weights.to(v.dtype) @ v, weights if want == "maps" else None


def attention_bias(
    query_pos: Tensor, key_pos: Tensor, block: int | None, valid: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    """Make the additive mask, broadcastable to (B, 1, L, K); None when every query may see every key.

    `query_pos` (1 or B, L), `key_pos` (K,). A query sees the keys of its own block and of earlier blocks
    (`block=None`: all keys) that are `valid` (B, K); blocks are counted from the first valid key, so padding on the
    left moves no border. A key at the position of the query is always allowed, so a padded query row never becomes
    empty (its result is never read).
    """
    if block is None and valid is None:
        return None
    query_pos = query_pos[:, None, :, None]  # (1 or B, 1, L, 1)
    first = 0 if valid is None else valid.int().argmax(1)[:, None, None, None]  # (B, 1, 1, 1)
    allowed = block is None or (query_pos - first) // block >= (key_pos - first) // block
    if valid is not None:
        allowed = (allowed & valid[:, None, None].bool()) | (query_pos == key_pos)
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, float("-inf"))


class Pieces(NamedTuple):
    """What stands around and between the blocks of a model, whatever the tensors are called."""

    embedding: nn.Embedding
    blocks: nn.ModuleList
    norm: nn.Module
    head: nn.Linear


class LLaDAModelLM(Interface):
    """LLaDA: a transformer that predicts every position from both sides.

    `model(input_ids)` takes ids (B, L) and returns `LLaDAOutput` with float32 logits (B, L, V). `forward`, in
    `dlmlab.interface`, translates what Transformers' tools say and calls `read`.
    """

    def __init__(self, config: LLaDAConfig):
        super().__init__(config)
        self.build(config)
        packed.make_room(self, config.quantization or {})
        self.post_init()

    def build(self, config: LLaDAConfig) -> None:
        """Make the modules, under the names that the tensors have in a checkpoint."""
        D, V = config.d_model, config.embedding_size
        self.model = nn.Module()
        self.model.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(V, D),
                "blocks": nn.ModuleList(Block(config, i) for i in range(config.n_layers)),
                "ln_f": RMSNorm(D, config.rms_norm_eps),
                "ff_out": nn.Linear(D, V, bias=False),
            }
        )

    @property
    def pieces(self) -> Pieces:
        """Return the embedding, the blocks, the last norm and the head."""
        named = self.model.transformer
        return Pieces(named["wte"], named["blocks"], named["ln_f"], named["ff_out"])

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)

    def read(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None = None,
        *,
        kv: KV | None = None,
        positions: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        logits_to_keep: Tensor | slice | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        output_column_sums: bool = False,
        attention: str | None = None,
        kernel: str | None = None,
        clean: Tensor | None = None,
    ) -> LLaDAOutput:
        """Predict every position.

        `attention_mask` (B, L), 1 = real token; padding belongs on the left. `kv`: a cache to which the new positions
        are appended; with it, `input_ids` are only the new tokens and `attention_mask` only theirs. `positions` (1 or
        B, L): the tokens are not new, their keys and values replace what `kv` holds there (a position may occur twice).
        `position_ids` (1 or B, L): other angles for the rotation; who sees whom goes by the column all the same.
        `inputs_embeds` (B, L, D): instead of ids. `logits_to_keep`: tokens of the input for which the head is computed,
        a slice, (n,) or (B, n). `attention`: of this forward, in place of the config's. `kernel`: `fused` or `explicit`
        (`attend`). `clean` (B, L): the text without noise, of which every block reads the blocks before it, as block
        diffusion is trained (`dlmlab.blockwise`); not together with masks, caches, positions or a choice of logits.
        Raises `ValueError` for another kernel, an empty input or one longer than `max_sequence_length`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("pass either input_ids or inputs_embeds")
        pieces = self.pieces
        if clean is not None:
            blockwise.check(input_ids, clean, attention_mask, kv, positions, position_ids, logits_to_keep)
            input_ids, logits_to_keep = torch.cat([input_ids, clean], 1), slice(input_ids.shape[1])
        h = pieces.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        frame = self.frame(h, attention_mask, kv, positions, position_ids, attention, paired=clean is not None)
        states, maps, sums = [h], [], []
        kernel = kernel or ("explicit" if self.config._attn_implementation == "eager" else "fused")
        if kernel not in KERNELS:
            raise ValueError(f"kernel={kernel!r} is unknown; known: {', '.join(KERNELS)}")
        want = "maps" if output_attentions or output_column_sums else kernel
        last = self.config.n_layers - 1 if want != "maps" and not output_hidden_states else -1
        for i, block in enumerate(pieces.blocks):
            keep = logits_to_keep if i == last else None
            h, weights = block(h, frame.rope, frame.mask, frame.store(i), keep, want)
            if output_hidden_states:
                states.append(h)
            if output_attentions:
                maps.append(weights)
            if output_column_sums:
                sums.append(column_sums(weights, attention_mask))
        h = pieces.norm(h)
        if output_hidden_states:
            states[-1] = h
        if last < 0 and logits_to_keep is not None:
            h = pick(h, logits_to_keep)
        return LLaDAOutput(
            logits=pieces.head(h).float(),
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(maps) or None,
            kv=kv,
            column_sums=tuple(sums) or None,
        )

    def loss(self, logits: Tensor, labels: Tensor, keep: Tensor | slice | None = None, count=None) -> Tensor:
        """Average the cross-entropy over the labels that are not -100.

        A label belongs to the same position; a causal model learns it one position earlier. For diffusion this is the
        loss of LLaDA's supervised fine-tuning without the weight 1/t: the *caller* puts masks into a copy of the answer
        and labels only there, and leaves the prompt as it is (LLaDA, algorithm 2). `keep` are the positions of the
        logits; `count` replaces the number of labels when a batch comes in parts. Without a label the loss is 0.

        Shapes: logits (B, q, V), labels (B, L).
        """
        if self.config.attention == "causal":
            labels = F.pad(labels[:, 1:], (0, 1), value=UNLABELLED)
        if keep is not None:
            labels = pick(labels, keep)
        if count is None:
            count = (labels != UNLABELLED).sum().clamp(min=1)
        total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=UNLABELLED, reduction="sum")
        return total / count

    def frame(
        self,
        tokens: Tensor,
        attention_mask: Tensor | None,
        kv: KV | None,
        positions: Tensor | None,
        position_ids: Tensor | None = None,
        attention: str | None = None,
        *,
        paired: bool = False,
    ) -> "Frame":
        """Work out what all layers share: where `tokens` (B, L) or (B, L, D) stand, whom they see, where keys go.

        `paired`: the tokens are a noised text and behind it the clean one (`dlmlab.blockwise`).
        """
        block, dtype = attention_block(attention or self.config.attention), self.pieces.embedding.weight.dtype
        if positions is not None and kv is None:
            raise ValueError(
                "positions say what is replaced in a cache: pass kv= too (position_ids only turn the keys)"
            )
        B, L = tokens.shape[:2]
        if paired:
            return self._paired(L // 2, block, dtype, tokens.device)
        past = 0 if kv is None else len(kv)
        length = past + L if positions is None else past
        if not (0 < L and 0 < length <= self.config.max_sequence_length):
            raise ValueError(f"length {length} is outside 1..{self.config.max_sequence_length} (max_sequence_length)")
        if attention_mask is not None and attention_mask.shape != (B, L):
            raise ValueError(f"attention_mask has shape {tuple(attention_mask.shape)}, the tokens have {(B, L)}")
        if attention_mask is not None and attention_mask.is_floating_point():
            if strange := set(attention_mask.unique().tolist()) - {0.0, 1.0}:  # an additive mask means the opposite
                raise ValueError(f"attention_mask holds {min(strange):g}: 1 is a real token, 0 padding")
        if positions is None:
            at = torch.arange(past, length, device=tokens.device)[None]
            valid = _valid_keys(kv, attention_mask, B, past, L)
        else:
            at, valid = torch.atleast_2d(positions), kv.valid
        angle = at if position_ids is None else torch.atleast_2d(position_ids)
        keys = torch.arange(length, device=tokens.device)
        mask = attention_bias(at, keys, block, valid, dtype)
        return Frame(self.rope(angle), mask, kv, None if positions is None else at)

    def _paired(self, L: int, block: int | None, dtype: torch.dtype, device: torch.device) -> "Frame":
        if L > self.config.max_sequence_length:
            raise ValueError(f"length {L} is outside 1..{self.config.max_sequence_length} (max_sequence_length)")
        at = torch.arange(L, device=device).repeat(2)[None]  # the two texts stand at the same positions
        return Frame(self.rope(at), blockwise.pair_bias(L, block, dtype=dtype, device=device), None, None)

    def rope(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """Make cosine and sine for positions `at` (1 or B, L), to turn heads with: (1 or B, 1, L, turned) each."""
        cos, sin = rope_table(at, self.config.rotary_width, self.config.rope_theta)
        return cos[:, None], sin[:, None]


@dataclass(frozen=True)
class Frame:
    """What the layers of one forward share: rotation, (1 or B, 1, L, D/H) each, mask, and the cache."""

    rope: tuple[Tensor, Tensor]
    mask: Tensor | None
    kv: KV | None
    positions: Tensor | None

    def store(self, layer: int):
        """Return the function that puts new keys and values of a layer where they belong and gives back all."""
        if self.kv is None:
            return lambda k, v: (k, v)
        if self.positions is None:
            return lambda k, v: self.kv.append(layer, k, v)
        return lambda k, v: self.kv.write(layer, k, v, self.positions)


def _valid_keys(kv: KV | None, attention_mask: Tensor | None, B: int, past: int, L: int) -> Tensor | None:
    """Join the key mask of the cache with that of the new tokens; None when nothing is masked."""
    if kv is None:
        return attention_mask
    if attention_mask is None and kv.valid is None:
        return None
    device = kv.layers[0][0].device if kv.layers else attention_mask.device
    old = kv.valid if kv.valid is not None else torch.ones(B, past, dtype=torch.bool, device=device)
    new = attention_mask.bool() if attention_mask is not None else torch.ones(B, L, dtype=torch.bool, device=device)
    kv.valid = torch.cat([old, new], 1)
    return kv.valid


def column_sums(weights: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Sum the attention each key receives over real queries: (B, H, L, K) -> (B, H, K)."""
    if attention_mask is None:
        return weights.sum(2)
    return torch.einsum("bhqk,bq->bhk", weights, attention_mask.to(weights.dtype))


def count_parameters(model: nn.Module) -> int:
    """Count the parameters, each once."""
    return sum(p.numel() for p in model.parameters())


AutoConfig.register("llada", LLaDAConfig)
AutoModel.register(LLaDAConfig, LLaDAModelLM)
AutoModelForMaskedLM.register(LLaDAConfig, LLaDAModelLM)
AutoModelForCausalLM.register(LLaDAConfig, LLaDAModelLM)
