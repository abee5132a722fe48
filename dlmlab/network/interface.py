"""What Transformers, and the tools built on it, expect of a model: nothing here changes a logit.

`forward` is the signature that `Trainer`, PEFT and `generate` know. It translates their words into those of
`LLaDAModelLM.read`, which does the arithmetic. A keyword nobody knows is an error, and so is one that this model
cannot honour: what is ignored in silence is found out too late.

* `labels` give the loss of the model's own kind, see `LLaDAModelLM.loss`.
* `generate` writes with a causal model only, and never writes the mask. Its cache is Transformers' own (`Borrowed`).
* `attn_implementation`: `sdpa` (fused) or `eager` (explicit matrices, whose backward pass is faster on a CPU, see
  `dlmlab.model.attend`).
"""

import inspect

from torch import Tensor, nn
from transformers import DynamicCache, GenerationMixin, LogitsProcessorList, PreTrainedModel
from transformers.generation import SuppressTokensLogitsProcessor

from dlmlab.network.config import LLaDAConfig
from dlmlab.network.kv import KV


class UnknownKeyword(ValueError, TypeError):
    """A keyword that `forward` does not know: a `ValueError` as all refusals here, a `TypeError` as Python's own."""


class NeverWritten(SuppressTokensLogitsProcessor):
    """The ids that are no answer; a class of its own, because a user's `suppress_tokens` makes one of the parent."""


class Borrowed(KV):
    """Transformers' cache in the words of ours, so that `generate` can reorder and crop what is its own."""

    def __init__(self, cache: DynamicCache, valid: Tensor | None) -> None:
        super().__init__()
        self.cache, self.valid = cache, valid

    def __len__(self) -> int:
        return self.cache.get_seq_length()

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self.cache.update(k, v, layer)


class Interface(PreTrainedModel, GenerationMixin):
    """Base of `LLaDAModelLM`: Transformers' signature, tables that can be replaced, and refusals that say what to use.

    A subclass has `read` (the forward pass), `loss`, and `pieces`, which name its embedding, blocks, norm and head.
    """

    config_class = LLaDAConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["Block"]

    def __init__(self, config: LLaDAConfig):
        super().__init__(config)
        if config.attention == "causal":
            self.loss_type = "ForCausalLM"  # tells `Trainer` that the first label of a row is not learned
            self.generation_config.use_cache = True  # the config's False, LLaDA's constant, would be taken over

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        kv: KV | None = None,
        positions: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: Tensor | slice | int | None = None,
        past_key_values: DynamicCache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        output_column_sums: bool = False,
        attention: str | None = None,
        kernel: str | None = None,
        clean: Tensor | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **unknown,
    ):
        """Predict every position; the keywords of `LLaDAModelLM.read`, and those of Transformers.

        `labels` (B, L), -100 where nothing is to be learned: the result has a `loss`, the mean of the positions or,
        with `num_items_in_batch`, their sum over that number. `past_key_values` or `use_cache=True`: a causal model
        goes on from Transformers' cache, and `attention_mask` then covers the cached tokens too. `logits_to_keep`
        may be a number: the last ones, 0 for all. `return_dict=False` gives a tuple. Raises `UnknownKeyword`, and
        `ValueError` for what this model cannot do.
        """
        if unknown:
            known = ", ".join(name for name in inspect.signature(self.forward).parameters if name != "unknown")
            raise UnknownKeyword(f"forward() does not know {', '.join(sorted(unknown))}; it knows {known}")
        if labels is not None and attention not in (None, self.config.attention):
            raise ValueError(
                f"attention={attention!r}: labels are learned as the config has it, {self.config.attention!r}"
            )
        if isinstance(logits_to_keep, int):
            logits_to_keep = slice(-logits_to_keep, None)
        if past_key_values is not None or use_cache:
            kv, attention_mask = self._borrow(past_key_values, attention_mask, kv)
        if kv is not None and self.training and any(b.gradient_checkpointing for b in self.pieces.blocks):
            raise ValueError(
                "gradient checkpointing reads each layer twice and would fill the cache twice: call eval()"
            )
        out = self.read(
            input_ids,
            attention_mask,
            kv=kv,
            positions=positions,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            logits_to_keep=logits_to_keep,
            output_attentions=self.config.output_attentions if output_attentions is None else output_attentions,
            output_hidden_states=(
                self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
            ),
            output_column_sums=output_column_sums,
            attention=attention,
            kernel=kernel,
            clean=clean,
        )
        if labels is not None:
            out = type(out)(loss=self.loss(out.logits, labels, logits_to_keep, num_items_in_batch), **out)
        if isinstance(kv, Borrowed):
            out = type(out)(**dict(out) | {"kv": None, "past_key_values": kv.cache})
        return out if (self.config.return_dict if return_dict is None else return_dict) else out.to_tuple()

    def _borrow(self, cache: DynamicCache | None, mask: Tensor | None, kv: KV | None) -> tuple[KV, Tensor | None]:
        """Take Transformers' cache, or a new one, and split the mask of all tokens into cached and new."""
        if self.config.attention != "causal":
            raise ValueError(
                f"attention={self.config.attention!r}: use_cache and past_key_values need a causal model; pass kv=, or "
                "decode with dlmlab.sampling.sample and a cache of dlmlab.cache"
            )
        cache = DynamicCache(config=self.config) if cache is None else cache
        if kv is not None or not isinstance(cache, DynamicCache):
            raise ValueError(
                f"past_key_values={type(cache).__name__}: only one transformers.DynamicCache is read, and not with kv="
            )
        past = cache.get_seq_length()
        return (
            Borrowed(cache, None if mask is None else mask[:, :past].bool()),
            None if mask is None else mask[:, past:],
        )

    def generate(self, inputs=None, generation_config=None, logits_processor=None, *args, **options):
        """Write as Transformers does, one token after the other. Raises `ValueError` when the model is not causal."""
        if self.config.attention != "causal":
            raise ValueError(
                f"attention={self.config.attention!r}: generate() writes from left to right and needs a causal model; "
                "use dlmlab.sampling.sample(model, prompts)"
            )
        never = [self.config.mask_token_id, *range(self.config.vocab_size, self.config.embedding_size)]
        processors = [*(logits_processor or []), NeverWritten(never, device=self.device)]
        return super().generate(inputs, generation_config, LogitsProcessorList(processors), *args, **options)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.pieces.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.model.transformer["wte"] = value

    def get_output_embeddings(self) -> nn.Linear:
        return self.pieces.head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.model.transformer["ff_out"] = value

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding:
        """Change the vocabulary; rows that only pad the table (`embedding_size`) are no tokens.

        Raises `ValueError` when a special token of the config would be cut off.
        """
        config = self.config
        vocab = config.vocab_size if new_num_tokens is None else new_num_tokens
        names = ("mask_token_id", "eos_token_id", "pad_token_id", "bos_token_id")
        for name, token in ((name, getattr(config, name, None)) for name in names):
            if token is not None and token >= vocab:
                raise ValueError(f"new_num_tokens={vocab} cuts off {name}={token}")
        table = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        config.vocab_size, config.embedding_size = vocab, len(table.weight)
        return table

    def _check_and_adjust_attn_implementation(self, attn_implementation: str | None, *args, **options) -> str:
        if attn_implementation not in (None, "sdpa", "eager"):
            raise ValueError(f"attn_implementation={attn_implementation!r} is not implemented; known: eager, sdpa")
        return attn_implementation or "sdpa"
