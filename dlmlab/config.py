"""The configuration of the LLaDA transformer: the keys of `GSAI-ML/LLaDA-8B-Base`, and what a pruned model adds."""

from transformers import PretrainedConfig


class LLaDAConfig(PretrainedConfig):
    """Configuration with the keys of LLaDA-8B, and three more: `attention` is `full`, `causal` or `block:K`;
    `layer_heads` and `layer_mlp` give each layer of a pruned model its own width (None: all alike)."""

    model_type = "llada"
    attribute_map = {
        "hidden_size": "d_model",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
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
        **kwargs,
    ):
        self.d_model, self.n_heads, self.n_layers = d_model, n_heads, n_layers
        self.n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        self.mlp_hidden_size, self.vocab_size = mlp_hidden_size, vocab_size
        self.embedding_size = embedding_size or vocab_size  # the 8B pads the table, never the token ids
        self.max_sequence_length, self.rope_theta, self.rms_norm_eps = max_sequence_length, rope_theta, rms_norm_eps
        self.mask_token_id, self.attention, self.init_std = mask_token_id, attention, init_std
        if d_model % n_heads or n_heads % self.n_kv_heads:
            raise ValueError(
                f"d_model={d_model}, n_heads={n_heads}, n_kv_heads={self.n_kv_heads}: each must divide the one before"
            )
        attention_block(attention)
        self.layer_heads, self.layer_mlp = layer_heads, layer_mlp
        self._check_layers()
        kwargs.setdefault("tie_word_embeddings", False)
        super().__init__(**kwargs)

    def layer_shape(self, layer: int) -> tuple[int, int, int]:
        """Heads, key-value heads and MLP width of one layer; a pruned model has fewer in some layers."""
        heads = self.layer_heads[layer] if self.layer_heads else self.n_heads
        width = self.layer_mlp[layer] if self.layer_mlp else self.mlp_hidden_size
        return heads, heads * self.n_kv_heads // self.n_heads, width

    def _check_layers(self) -> None:
        group = self.n_heads // self.n_kv_heads
        for name, values, most in (("heads", self.layer_heads, self.n_heads), ("mlp", self.layer_mlp, None)):
            if values is None:
                continue
            good = len(values) == self.n_layers and all(0 < v <= (most or v) for v in values)
            if not good or (most and any(v % group for v in values)):
                raise ValueError(
                    f"layer_{name}={values}: needs {self.n_layers} positive values"
                    + (f" up to {most}, multiples of {group} (whole key-value groups)" if most else "")
                )


def attention_block(attention: str) -> int | None:
    """Return the block length of an attention kind: None for `full`, 1 for `causal`, K for `block:K`.

    Raises `ValueError` for any other text.

    >>> attention_block("block:32")
    32
    """
    kind, _, size = attention.partition(":")
    if attention == "full":
        return None
    if attention == "causal":
        return 1
    if kind == "block" and size.isdecimal() and int(size) > 0:
        return int(size)
    raise ValueError(f"attention={attention!r} is unknown; known: full, causal, block:K with K > 0")
