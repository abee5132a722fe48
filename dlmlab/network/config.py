"""The configuration of the LLaDA transformer: the keys of `GSAI-ML/LLaDA-8B-Base`, and what a pruned model adds.

Every value is checked here, before a model is built from it: a config of a wrong type or size raises `ValueError`, and
so does one that asks for something this model does not compute.
"""

from typing import Any

from transformers import PretrainedConfig

from dlmlab.network import packed, parts

# What `model.py` computes, in the words of LLaDA-8B's config. The published class has other defaults (those of GPT-2),
# so all of it is written into every `config.json`.
CONSTANTS = {
    "activation_type": "silu",
    "block_type": "llama",
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "rope": True,
    "rope_full_precision": True,
    "multi_query_attention": None,
} | dict.fromkeys(
    ("include_bias", "include_qkv_bias", "bias_for_layer_norm", "alibi", "scale_logits", "weight_tying")
    + ("attention_layer_norm", "input_emb_norm", "use_cache"),
    False,
)
CONSTANTS |= dict.fromkeys(("attention_dropout", "residual_dropout", "embedding_dropout"), 0.0)
# What other models of this family have and this one does not; accepted only when it is switched off.
ABSENT = ("clip_qkv", "quantization_config", "rope_scaling", "rope_parameters", "num_experts", "tie_word_embeddings")
ABSENT += ("attention_bias", "mlp_bias", "use_qk_norm", "norm_after")

MOST = 2**24  # no size of a model on this earth; products of two of them still fit a tensor's shape
WHOLE = dict.fromkeys(
    ("d_model", "n_heads", "n_kv_heads", "mlp_hidden_size", "vocab_size", "embedding_size", "max_sequence_length"),
    (1, MOST),
) | {"n_layers": (1, 1024)}
REAL = {"rope_theta": (1.0, 1e12), "rms_norm_eps": (1e-30, 1.0), "init_std": (0.0, 1e3)}
TOKEN_IDS = ("mask_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
# What shapes of tensors do not tell and results depend on: a file must say it.
REQUIRED = ("d_model", "n_heads", "n_layers", "mlp_hidden_size", "vocab_size", "max_sequence_length")
REQUIRED += ("rope_theta", "rms_norm_eps", "mask_token_id")
OWN = {"attention", "layer_heads", "layer_mlp", "quantization"}  # keys that the 8B does not have


class LLaDAConfig(PretrainedConfig):
    """Configuration with the keys of LLaDA-8B, and four more: `attention` is `full`, `causal` or `block:K`;
    `layer_heads` and `layer_mlp` give each layer of a pruned model its own width (None: all alike); `quantization` says
    of each packed matrix what `packed.describe` writes (None: all dense).

    Raises `ValueError` naming every value that cannot be. The usual names of Transformers (`hidden_size`, ...) read the
    same values; they do not set them.
    """

    model_type = "llada"
    architecture = "LLaDAModelLM"  # the published class
    mask_token = "<|mdm_mask|>"  # the 8B's tokenizer knows the token but does not call it its mask token
    whole, real, constants, absent = WHOLE, REAL, CONSTANTS, ABSENT  # what values may be
    fused_queries = False  # whether queries are made where only keys and values are needed
    attribute_map = {
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_kv_heads",
        "intermediate_size": "mlp_hidden_size",
        "max_position_embeddings": "max_sequence_length",
    }

    def __init__(
        self,
        d_model: int = 192,
        n_heads: int = 6,
        n_kv_heads: int | None = None,
        n_layers: int = 6,
        mlp_hidden_size: int = 512,
        vocab_size: int = 512,
        embedding_size: int | None = None,
        max_sequence_length: int = 96,
        rope_theta: float = 10_000.0,
        rms_norm_eps: float = 1e-5,
        mask_token_id: int = 0,
        attention: str = "full",
        init_std: float = 0.02,
        layer_heads: list[int] | None = None,
        layer_mlp: list[int] | None = None,
        quantization: dict[str, dict] | None = None,
        **kwargs,
    ):
        self.d_model, self.n_heads, self.n_layers = d_model, n_heads, n_layers
        self.n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        self.mlp_hidden_size, self.vocab_size = mlp_hidden_size, vocab_size
        # the 8B pads the table, never the token ids
        self.embedding_size = vocab_size if embedding_size is None else embedding_size
        self.max_sequence_length, self.rope_theta, self.rms_norm_eps = max_sequence_length, rope_theta, rms_norm_eps
        self.mask_token_id, self.attention, self.init_std = mask_token_id, attention, init_std
        self.layer_heads, self.layer_mlp, self.quantization = layer_heads, layer_mlp, quantization
        self._check(kwargs)
        self._finish(kwargs)

    def _finish(self, given: dict[str, Any]) -> None:
        """Write down what is always so, and hand the rest of what was given to Transformers."""
        for key, only in self.constants.items():
            setattr(self, key, only)
        known = (*self.constants, *self.absent, *self.attribute_map)
        others = {k: v for k, v in given.items() if k not in known}
        PretrainedConfig.__init__(self, tie_word_embeddings=False, **others)

    @classmethod
    def from_file(cls, values: dict[str, Any]) -> "LLaDAConfig":
        """Make the configuration that a `config.json` describes, guessing nothing; keys of other tools are left out.

        Raises `ValueError` for a missing key and whatever the constructor refuses.
        """
        # Published models only know full attention and do not say so; they point at their own code with `auto_map`.
        required = (*REQUIRED, *(() if "auto_map" in values else ("attention",)))
        return cls._made(values, required, OWN)

    @classmethod
    def _made(cls, values: dict[str, Any], required: tuple[str, ...], own: set[str]) -> "LLaDAConfig":
        if missing := [key for key in required if values.get(key) is None]:
            raise ValueError(f"missing and not guessed: {', '.join(missing)}")
        known = {*cls.whole, *cls.real, *TOKEN_IDS, *cls.constants, *cls.absent, *cls.attribute_map, *own}
        return cls(**{k: v for k, v in values.items() if k in known})

    @property
    def head_width(self) -> int:
        """Number of values of a head."""
        return self.d_model // self.n_heads

    @property
    def rotary_width(self) -> int:
        """How many of them the position turns."""
        return self.head_width

    def layer_shape(self, layer: int) -> tuple[int, int, int]:
        """Heads, key-value heads and MLP width of one layer; a pruned model has fewer in some layers."""
        heads = self.layer_heads[layer] if self.layer_heads else self.n_heads
        width = self.layer_mlp[layer] if self.layer_mlp else self.mlp_hidden_size
        return heads, heads * self.n_kv_heads // self.n_heads, width

    def router_width(self, layer: int) -> int:
        """Number of experts that are scored in one layer: none in a dense model."""
        return 0

    def least_tensors(self) -> int:
        """Give a number of tensors below which no checkpoint of this size can be."""
        return self.n_layers

    def matrix_names(self) -> set[str]:
        """Name every matrix that compression may change, as `parts.weights` does."""
        inside = [name for names in parts.READERS for name in names]
        return {f"blocks.{layer}.{name}" for layer in range(self.n_layers) for name in inside}

    def _check(self, others: dict[str, Any]) -> None:
        """Raise `ValueError` with everything that is wrong, `others` being the keys that are not parameters."""
        problems = [
            f"{key} = {_short(getattr(self, key))}; needs a whole number from {low} to {high}"
            for key, (low, high) in self.whole.items()
            if not _whole(getattr(self, key), low, high)
        ]
        problems += [
            f"{key} = {_short(getattr(self, key))}; needs a number from {low:g} to {high:g}"
            for key, (low, high) in self.real.items()
            if type(getattr(self, key)) not in (int, float) or not low <= getattr(self, key) <= high
        ]
        problems += [
            f"{key} = {_short(others[key])}; this model implements {only!r}"
            for key, only in (self.constants | dict.fromkeys(self.absent)).items()
            if key in others and others[key] != only and not (not only and others[key] in (None, False))
            if (key, others[key]) != ("use_cache", True)  # what Transformers' tools switch on changes no number
        ]
        problems += [
            f"{alias} = {_short(others[alias])} is another name of {key} = {_short(getattr(self, key))}; set {key}"
            for alias, key in self.attribute_map.items()
            if alias in others and others[alias] != getattr(self, key)
        ]
        if not problems:
            problems = self._disagreements(others)
        if problems:
            raise ValueError("; ".join(problems))
        attention_block(self.attention)
        self._check_layers()
        self._check_quantization()

    def _disagreements(self, others: dict[str, Any]) -> list[str]:
        """List what each value allows and all together do not."""
        problems = []
        if self.d_model % self.n_heads or self.n_heads % self.n_kv_heads:
            problems.append(
                f"d_model={self.d_model}, n_heads={self.n_heads}, n_kv_heads={self.n_kv_heads}: "
                "each must divide the one before"
            )
        elif self.d_model // self.n_heads % 2:
            problems.append(
                f"d_model={self.d_model}, n_heads={self.n_heads}: a head of {self.d_model // self.n_heads} values is "
                "not made of pairs, which the rotation of positions turns"
            )
        if self.vocab_size > self.embedding_size:
            problems.append(f"vocab_size={self.vocab_size} is more than embedding_size={self.embedding_size}")
        return problems + self._odd_ids(others)

    @staticmethod
    def _odd(others: dict[str, Any], known: dict[str, Any]) -> list[str]:
        """List the keys that say once more, and otherwise, what the rest of a config says."""
        return [
            f"{key} = {_short(others[key])}; by the other values it is {value!r}"
            for key, value in known.items()
            if others.get(key) is not None and (type(others[key]), others[key]) != (type(value), value)
        ]

    def _odd_ids(self, others: dict[str, Any]) -> list[str]:
        ids = {"mask_token_id": self.mask_token_id} | {k: others.get(k) for k in TOKEN_IDS[1:]}
        return [
            f"{key} = {_short(value)}; needs an id from 0 to {self.vocab_size - 1} (vocab_size - 1)"
            for key, value in ids.items()
            if not (_whole(value, 0, self.vocab_size - 1) or (value is None and key != "mask_token_id"))
        ]

    def _check_layers(self) -> None:
        group = self.n_heads // self.n_kv_heads
        for name, values, most in (("heads", self.layer_heads, self.n_heads), ("mlp", self.layer_mlp, MOST)):
            if values is None:
                continue
            good = isinstance(values, list) and len(values) == self.n_layers
            step = group if name == "heads" else 1
            if not (good and all(_whole(v, 1, most) and v % step == 0 for v in values)):
                raise ValueError(
                    f"layer_{name}={_short(values)}: needs {self.n_layers} positive values up to {most}"
                    + (f", multiples of {group} (whole key-value groups)" if name == "heads" else "")
                )

    def _check_quantization(self) -> None:
        described = self.quantization
        if described is None:
            return
        if not isinstance(described, dict) or not described:
            raise ValueError(f"quantization = {_short(described)}; needs the packed matrices by name, or null")
        if strangers := sorted(set(described) - self.matrix_names()):
            raise ValueError(f"quantization of {_short(strangers[0])}: no matrix of the {self.n_layers} blocks")
        for name, values in described.items():
            try:
                packed.spec_of(values)
            except ValueError as error:
                raise ValueError(f"quantization of {name}: {error}") from error


def _whole(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high  # `type`: True is an int by inheritance, and no size


def _short(value: Any) -> str:
    text = f"an integer of {value.bit_length()} bits" if type(value) is int and abs(value) > 10**30 else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def attention_block(attention: str) -> int | None:
    """Return the block length of an attention kind: None for `full`, 1 for `causal`, K for `block:K`.

    Raises `ValueError` for any other text.

    >>> attention_block("block:32")
    32
    """
    kind, _, size = attention.partition(":") if isinstance(attention, str) else ("", "", "")
    if attention == "full":
        return None
    if attention == "causal":
        return 1
    if kind == "block" and size.isdecimal() and len(size) < 10 and int(size) > 0:
        return int(size)
    raise ValueError(f"attention={_short(attention)} is unknown; known: full, causal, block:K with K > 0")
