"""Decode with the loop that fits the model: the only place that asks whether a model is causal to choose one."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.decode import autoregressive, sampling
from dlmlab.decode.cache import BlockCache
from dlmlab.decode.trace import Sample
from dlmlab.network.config import attention_block


def sampler_for(config, **options) -> sampling.Sampler:
    """Make a sampler that writes as a model was trained: a block-causal model block by block, with finished blocks
    cached; any other model as `Sampler` does. `options` are those of `Sampler` and win."""
    size = attention_block(getattr(config, "attention", "full"))
    if size in (None, 1) or options.get("block_length") is not None:
        return sampling.Sampler(**options)
    cache = None if options.get("guidance") else BlockCache()
    return sampling.Sampler(**{"block_length": size, "aligned": True, "cache": cache} | options)


def decode(
    model,
    prompts: Sequence[Sequence[int]] | Tensor | Mapping,
    *,
    attention_mask: Tensor | Sequence[Sequence[int]] | None = None,
    gen_length: int = limits.ANSWER_LENGTH,
    sampler: sampling.Sampler | None = None,
    generator: torch.Generator | None = None,
    cache: bool = True,
) -> Sample:
    """Decode a batch: by `sampling.sample`, or left to right by `autoregressive.sample` when the model is causal.

    `prompts` and `attention_mask`: all forms that these take. `sampler`: None decodes as the model was trained
    (`sampler_for`); of another one a causal model uses the temperature. `cache=False`: a causal model reads its whole
    text at every step.
    """
    request = dict(attention_mask=attention_mask, gen_length=gen_length, generator=generator)
    if getattr(getattr(model, "config", None), "attention", None) == "causal":
        temperature = 0.0 if sampler is None else sampler.temperature
        return autoregressive.sample(model, prompts, temperature=temperature, cache=cache, **request)
    sampler = sampler_for(getattr(model, "config", None)) if sampler is None else sampler
    return sampling.sample(model, prompts, sampler=sampler, **request)
