"""Decode with the loop that fits the model: the only place that asks whether a model is causal to choose one."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.decode import autoregressive, sampling
from dlmlab.decode.trace import Sample


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

    `prompts` and `attention_mask`: all forms that these take. Of `sampler`, a causal model uses the temperature.
    `cache=False`: a causal model reads its whole text at every step.
    """
    request = dict(attention_mask=attention_mask, gen_length=gen_length, generator=generator)
    if getattr(getattr(model, "config", None), "attention", None) == "causal":
        temperature = 0.0 if sampler is None else sampler.temperature
        return autoregressive.sample(model, prompts, temperature=temperature, cache=cache, **request)
    return sampling.sample(model, prompts, sampler=sampler, **request)
