"""LLaDA2.x: a block-causal diffusion transformer with a mixture of experts, under its published names.

    scores   s = sigmoid(W_g x) in float32, s' = s + b      the bias b only chooses, it never weighs
    groups   the experts stand in groups; a group counts the sum of its two largest s'; the best groups stay
    experts  the k largest s' in these groups,  w = scale * s / sum of the chosen s
    output   y = sum of w_e E_e(x) + E_shared(x)

Decisions
* Config keys and tensor names are those of `inclusionAI/LLaDA2.0-mini`; the short names of the rest of the course
  (`d_model`, ...) read the same values. Two keys are our own: `attention` (published models are called with a mask of
  block 32) and `mask_token_id` (published code has the number in the sampler).
* What a published config does not say has the default of its published class; a config without `auto_map` is one of
  ours and must say it.
* Only the experts that were chosen run, one after the other. Each remembers the tokens it has read, so that statistics
  of its inputs count those and no others.
* Queries, keys and values are one matrix, so queries are made wherever keys are. The first `partial_rotary_factor` of a
  head turns with the position, after a norm of its own; the rest does not.
* `balance` moves the biases towards an even load, as these models are trained (no loss for it, no gradient).

Sources: LLaDA2.0, arXiv 2512.15745; LLaDA2.1, arXiv 2602.08676; their released `configuration_llada2_moe.py` and
`modeling_llada2_moe.py` (Apache-2.0), which descend from Ling 2.0; DeepSeek-V3, arXiv 2412.19437 (grouped sigmoid
routing); Wang et al., arXiv 2408.15664 (balance by bias). Own implementation.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from dlmlab.network.config import MOST, LLaDAConfig
from dlmlab.network.model import Block, LLaDAModelLM, Pieces, RMSNorm, pick, rotate
from dlmlab.network.parts import Site

PUBLISHED_VOCABULARY, PUBLISHED_MASK, PUBLISHED_ATTENTION = 157_184, 156_895, "block:32"

# What this file computes, in the words of the published config. `use_bias` is on where a config does not name it.
CONSTANTS = {
    "hidden_act": "silu",
    "score_function": "sigmoid",
    "router_dtype": "fp32",
    "norm_topk_prob": True,
    "moe_router_enable_expert_bias": True,
    "use_qk_norm": True,
} | dict.fromkeys(("use_bias", "use_qkv_bias", "norm_head", "use_sliding_window", "output_router_logits"), False)
CONSTANTS |= dict.fromkeys(("embedding_dropout", "attention_dropout", "output_dropout"), 0.0) | {"use_cache": False}
ABSENT = ("rope_scaling", "rope_parameters", "quantization_config", "num_nextn_predict_layers", "tie_word_embeddings")
ABSENT += ("attention_bias", "mlp_bias", "norm_softmax", "using_split_qkv_in_self_attention")
SAID = ("rotary_dim", "use_rmsnorm")  # read only to refuse what is not so; not written
SIZES = ("hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size", "moe_intermediate_size")
SIZES += ("vocab_size", "max_position_embeddings", "head_dim", "n_group", "topk_group")
WHOLE = dict.fromkeys(SIZES, (1, MOST)) | {"num_hidden_layers": (1, 1024), "first_k_dense_replace": (0, 1024)}
WHOLE |= dict.fromkeys(("num_experts", "num_experts_per_tok", "num_shared_experts"), (1, 4096))
REAL = {"rope_theta": (1.0, 1e12), "rms_norm_eps": (1e-30, 1.0), "initializer_range": (0.0, 1e3)}
REAL |= {"routed_scaling_factor": (1e-6, 1e6), "partial_rotary_factor": (1e-6, 1.0)}
# What a file of ours must say: all of it but what makes no difference to a result.
REQUIRED = (*(key for key in (*WHOLE, *REAL) if key != "initializer_range"), "attention", "mask_token_id")


class LLaDA2Config(LLaDAConfig):
    """Configuration with the keys and the defaults of the published class, and three more: `attention` (`full`,
    `causal` or `block:K`), `mask_token_id` and `quantization` as in `LLaDAConfig`.

    Raises `ValueError` naming every value that cannot be.
    """

    model_type = "llada2_moe"
    architecture = "LLaDA2MoeModelLM"
    mask_token = "<|mask|>"
    whole, real, constants, absent = WHOLE, REAL, CONSTANTS, ABSENT
    fused_queries = True
    has_no_defaults_at_init = True  # the published defaults alone make no model
    layer_heads = layer_mlp = None  # layers of this family are all alike
    attribute_map = {
        "d_model": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "n_kv_heads": "num_key_value_heads",
        "mlp_hidden_size": "intermediate_size",
        "max_sequence_length": "max_position_embeddings",
        "embedding_size": "vocab_size",
        "init_std": "initializer_range",
    }

    def __init__(
        self,
        vocab_size: int = 30_592,
        hidden_size: int = 1024,
        intermediate_size: int | None = None,
        num_hidden_layers: int = 24,
        num_attention_heads: int = 16,
        num_key_value_heads: int = 0,
        head_dim: int | None = None,
        max_position_embeddings: int = 16_384,
        rope_theta: float = 10_000.0,
        partial_rotary_factor: float = 0.5,
        rms_norm_eps: float = 1e-5,
        initializer_range: float = 0.02,
        num_experts: int = 16,
        num_experts_per_tok: int = 2,
        num_shared_experts: int = 0,
        moe_intermediate_size: int | None = None,
        first_k_dense_replace: int = 0,
        n_group: int = 8,
        topk_group: int = 4,
        routed_scaling_factor: float = 2.5,
        mask_token_id: int | None = None,
        attention: str = PUBLISHED_ATTENTION,
        quantization: dict[str, dict] | None = None,
        **kwargs,
    ):
        given = {k: v for k, v in locals().items() if k in self.whole or k in self.real}
        for key, value in given.items():
            setattr(self, key, value)
        if head_dim is None and type(hidden_size) is type(num_attention_heads) is int and num_attention_heads > 0:
            self.head_dim = hidden_size // num_attention_heads
        if mask_token_id is None and vocab_size == PUBLISHED_VOCABULARY:
            mask_token_id = PUBLISHED_MASK
        self.mask_token_id, self.attention, self.quantization = mask_token_id, attention, quantization
        self._check(kwargs)
        self._finish({key: value for key, value in kwargs.items() if key not in SAID})

    @classmethod
    def from_file(cls, values: dict[str, Any]) -> "LLaDA2Config":
        """Make the configuration that a `config.json` describes; keys of other tools are left out.

        Raises `ValueError` for a missing key of a config of ours, for one of the published that needs biases, and
        whatever the constructor refuses.
        """
        own = {"attention", "mask_token_id", "quantization", *SAID}
        published = "auto_map" in values
        if published and values.get("use_bias", True) is not False:
            raise ValueError("use_bias is not said to be false, and the published class then has biases: not here")
        values = {k: v for k, v in values.items() if v is not None} if published else values
        return cls._made(values, () if published else REQUIRED, own)

    @property
    def head_width(self) -> int:
        return self.head_dim

    @property
    def rotary_width(self) -> int:
        return int(self.head_dim * self.partial_rotary_factor)

    def routed(self, layer: int) -> bool:
        """Say whether a layer has experts."""
        return layer >= self.first_k_dense_replace

    def layer_shape(self, layer: int) -> tuple[int, int, int]:
        """Heads, key-value heads and the MLP width that one token reads in one layer."""
        active = (self.num_experts_per_tok + self.num_shared_experts) * self.moe_intermediate_size
        return self.n_heads, self.n_kv_heads, active if self.routed(layer) else self.intermediate_size

    def router_width(self, layer: int) -> int:
        return self.num_experts if self.routed(layer) else 0

    def least_tensors(self) -> int:
        return self.n_layers + max(self.n_layers - self.first_k_dense_replace, 0) * self.num_experts

    def matrix_names(self) -> set[str]:
        mlp = ("gate_proj", "up_proj", "down_proj")
        inside = ["attention.query_key_value", "attention.dense"]
        dense = [f"mlp.{name}" for name in mlp]
        routed = [f"mlp.experts.{e}.{name}" for e in range(self.num_experts) for name in mlp]
        routed += [f"mlp.shared_experts.{name}" for name in mlp]
        of = {layer: inside + (routed if self.routed(layer) else dense) for layer in range(self.n_layers)}
        return {f"blocks.{layer}.{name}" for layer, names in of.items() for name in names}

    def _disagreements(self, others: dict[str, Any]) -> list[str]:
        c, problems = self, []
        if c.num_attention_heads % c.num_key_value_heads:
            problems.append(
                f"num_attention_heads={c.num_attention_heads} is no multiple of "
                f"num_key_value_heads={c.num_key_value_heads}"
            )
        if c.rotary_width < 2 or c.rotary_width % 2:
            problems.append(
                f"partial_rotary_factor={c.partial_rotary_factor} of head_dim={c.head_dim} is {c.rotary_width} values: "
                "a rotation turns pairs"
            )
        if c.num_experts % c.n_group or c.num_experts // c.n_group < 2:
            problems.append(
                f"num_experts={c.num_experts}, n_group={c.n_group}: groups are alike and hold two experts or more"
            )
        elif c.topk_group > c.n_group or c.num_experts_per_tok > c.topk_group * (c.num_experts // c.n_group):
            problems.append(
                f"num_experts_per_tok={c.num_experts_per_tok} of topk_group={c.topk_group} of n_group={c.n_group} "
                f"groups of {c.num_experts // c.n_group}: more than there are"
            )
        problems += self._odd(others, dict(zip(SAID, (c.rotary_width, True), strict=True)))
        return problems + self._odd_ids(others)


# ------------------------------------------------------------------------------------------------ experts


def route(scores: Tensor, bias: Tensor, *, groups: int, best: int, k: int, scale: float) -> tuple[Tensor, Tensor]:
    """Choose k experts for every token and weigh them: scores (T, E) in 0..1, bias (E,) -> experts, weights (T, k).

    `best` of the `groups` may be chosen from. Equal scores go to the lower expert. With k = 1 the weight is the score
    itself, not divided by their sum. Source: the published `LLaDA2MoeGate`.

    >>> route(torch.tensor([[0.1, 0.9, 0.6, 0.5]]), torch.zeros(4), groups=2, best=1, k=2, scale=1.0)[0].tolist()
    [[2, 3]]
    """
    biased = scores + bias  # (T, E)
    strength = biased.unflatten(1, (groups, -1)).topk(2, -1).values.sum(-1)  # (T, groups)
    stay = torch.zeros_like(strength, dtype=torch.bool).scatter_(1, _highest(strength, best), True)
    open = stay.repeat_interleave(scores.shape[1] // groups, 1)  # (T, E)
    chosen = _highest(biased.masked_fill(~open, float("-inf")), k)
    weight = scores.gather(1, chosen)
    if k > 1:
        weight = weight / (weight.sum(-1, keepdim=True) + 1e-20)
    return chosen, weight * scale


def _highest(values: Tensor, k: int) -> Tensor:
    return values.sort(dim=-1, descending=True, stable=True).indices[:, :k]


class Router(nn.Module):
    """Scores every expert for every token, in float32 whatever the weights are."""

    def __init__(self, config: LLaDA2Config):
        super().__init__()
        self.how = {"groups": config.n_group, "best": config.topk_group, "k": config.num_experts_per_tok}
        self.how["scale"] = config.routed_scaling_factor
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))
        self.register_buffer("expert_bias", torch.zeros(config.num_experts))  # no gradient: see `balance`

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Route tokens x (T, D): experts (T, k), weights (T, k) float32."""
        with torch.autocast(x.device.type, enabled=False):
            scores = F.linear(x.float(), self.weight.float()).sigmoid()
        return route(scores, self.expert_bias.float(), **self.how)


class MLP(nn.Module):
    """SwiGLU: an expert, the shared expert, or the whole MLP of a dense layer."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(nn.Module):
    """The experts of a layer: those a token is routed to, weighed, and one that reads every token."""

    def __init__(self, config: LLaDA2Config):
        super().__init__()
        D, hidden = config.hidden_size, config.moe_intermediate_size
        self.gate = Router(config)
        self.experts = nn.ModuleList(MLP(D, hidden) for _ in range(config.num_experts))
        self.shared_experts = MLP(D, hidden * config.num_shared_experts)
        self.tokens: tuple[Tensor, ...] = ()  # of each expert: which of the B * q tokens it has just read
        self.call_idle = False  # whether an expert without tokens is called, for a gradient of zeros

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)  # (T, D)
        chosen, weight = self.gate(flat)  # (T, k)
        order = chosen.flatten().argsort(stable=True)  # by expert, then from left to right
        counts = chosen.flatten().bincount(minlength=len(self.experts)).tolist()
        weights = weight.flatten()[order].split(counts)
        self.tokens = order.div(chosen.shape[1], rounding_mode="floor").split(counts)
        routed = torch.zeros(flat.shape, dtype=torch.float32, device=x.device)
        for expert, at, w in zip(self.experts, self.tokens, weights, strict=True):
            if len(at) or self.call_idle:
                routed.index_add_(0, at, expert(flat[at]).float() * w[:, None])
        return routed.to(x.dtype).view_as(x) + self.shared_experts(x)

    @property
    def load(self) -> Tensor:
        """Tokens that each expert has read in the last forward, (E,)."""
        return torch.tensor([len(at) for at in self.tokens], dtype=torch.float32)


# ------------------------------------------------------------------------------------------------ the model


class Attention(nn.Module):
    """The matrices and norms of attention; the arithmetic is that of `Block`."""

    def __init__(self, config: LLaDA2Config):
        super().__init__()
        D, width, heads, kv_heads = config.hidden_size, config.head_dim, config.n_heads, config.n_kv_heads
        self.query_key_value = nn.Linear(D, (heads + 2 * kv_heads) * width, bias=False)  # rows [Q | K | V]
        self.query_layernorm = RMSNorm(width, config.rms_norm_eps)
        self.key_layernorm = RMSNorm(width, config.rms_norm_eps)
        self.dense = nn.Linear(heads * width, D, bias=False)


class LLaDA2Block(Block):
    """Pre-norm attention with a norm on every query and key, then a dense MLP or experts."""

    def __init__(self, config: LLaDA2Config, layer: int = 0):
        nn.Module.__init__(self)
        self.heads, self.kv_heads, _ = config.layer_shape(layer)
        self.width, D = config.head_dim, config.hidden_size
        self.input_layernorm = RMSNorm(D, config.rms_norm_eps)
        self.attention = Attention(config)
        self.post_attention_layernorm = RMSNorm(D, config.rms_norm_eps)
        self.mlp = Experts(config) if config.routed(layer) else MLP(D, config.intermediate_size)

    def project(self, h: Tensor, rope) -> tuple[Tensor, Tensor, Tensor]:
        a = self.attention
        whole = a.query_key_value(self.input_layernorm(h)).unflatten(-1, (-1, self.width)).transpose(1, 2)
        q, k, v = whole.split([self.heads, self.kv_heads, self.kv_heads], 1)  # (B, H, q, D/H)
        return rotate(a.query_layernorm(q), *rope), rotate(a.key_layernorm(k), *rope), v

    def output(self, mixed: Tensor) -> Tensor:
        return self.attention.dense(mixed)

    def feed(self, h: Tensor) -> Tensor:
        return self.mlp(self.post_attention_layernorm(h))

    def forward(self, h: Tensor, rope, mask: Tensor | None, store, keep: Tensor | slice | None, want: str):
        q, *new = self.project(h, rope)
        k, v = store(*new)
        if keep is not None:
            h, q = pick(h, keep), pick(q.transpose(1, 2), keep).transpose(1, 2)
            mask = mask if mask is None else pick(mask[:, 0], keep)[:, None]
        return self.mix(h, q, k, v, mask, want)

    def sites(self) -> tuple[Site, ...]:
        """List the inputs inside the block; an expert's are those of the tokens that were routed to it."""
        inside = (Site(("attention.query_key_value",)), Site(("attention.dense",)))
        if isinstance(self.mlp, MLP):
            return inside + _sites("mlp")
        routed = (_sites(f"mlp.experts.{e}", lambda e=e: self.mlp.tokens[e]) for e in range(len(self.mlp.experts)))
        return inside + sum(routed, ()) + _sites("mlp.shared_experts")


def _sites(path: str, tokens=None) -> tuple[Site, Site]:
    return Site((f"{path}.gate_proj", f"{path}.up_proj"), tokens), Site((f"{path}.down_proj",), tokens)


class LLaDA2MoeModelLM(LLaDAModelLM):
    """LLaDA2.x: called, decoded, trained and compressed as `LLaDAModelLM`."""

    config_class = LLaDA2Config
    _no_split_modules = ["LLaDA2Block"]

    def build(self, config: LLaDA2Config) -> None:
        D, V = config.hidden_size, config.vocab_size
        self.model = nn.Module()
        self.model.word_embeddings = nn.Embedding(V, D)
        self.model.layers = nn.ModuleList(LLaDA2Block(config, i) for i in range(config.n_layers))
        self.model.norm = RMSNorm(D, config.rms_norm_eps)
        self.lm_head = nn.Linear(D, V, bias=False)

    @property
    def pieces(self) -> Pieces:
        return Pieces(self.model.word_embeddings, self.model.layers, self.model.norm, self.lm_head)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Router):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            nn.init.zeros_(module.expert_bias)

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.model.word_embeddings = value

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.lm_head = value

    def loads(self) -> Tensor:
        """Tokens that each expert of each routed layer has read in the last forward, (layers, E)."""
        routed = [block.mlp.load for block in self.pieces.blocks if isinstance(block.mlp, Experts)]
        return torch.stack(routed) if routed else torch.zeros(0, self.config.num_experts)

    @torch.no_grad()
    def balance(self, loads: Tensor, rate: float) -> None:
        """Raise the bias of experts below the mean load by `rate` and lower it above, in place: loads (layers, E).

        Source: Wang et al., arXiv 2408.15664, algorithm 1.
        """
        routed = [block.mlp for block in self.pieces.blocks if isinstance(block.mlp, Experts)]
        for mlp, load in zip(routed, loads, strict=True):
            mlp.gate.expert_bias += rate * (load.mean() - load).sign().to(mlp.gate.expert_bias.device)


def merged(name: str, shape: tuple[int, ...]) -> list[str] | None:
    """List the published names of a tensor that holds one matrix of all experts, (E, R, C); None for any other tensor.

    dFactory, the released training code, stores `...mlp.experts.gate_proj` that way.

    >>> merged("model.layers.1.mlp.experts.up_proj", (2, 4, 8))
    ['model.layers.1.mlp.experts.0.up_proj.weight', 'model.layers.1.mlp.experts.1.up_proj.weight']
    """
    path, _, which = name.rpartition(".mlp.experts.")
    if not path or which not in ("gate_proj", "up_proj", "down_proj") or len(shape) != 3:
        return None
    return [f"{path}.mlp.experts.{e}.{which}.weight" for e in range(shape[0])]


AutoConfig.register("llada2_moe", LLaDA2Config)
for _auto in (AutoModel, AutoModelForMaskedLM, AutoModelForCausalLM):
    _auto.register(LLaDA2Config, LLaDA2MoeModelLM)
