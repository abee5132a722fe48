"""Decode the autoregressive twin with its key-value cache: the control of every comparison with diffusion.

Same call and same trace as `dlmlab.sampling.sample`. The logits of a causal model at position i predict token i + 1.
One prefill forward reads the prompts; then every forward carries one token a row. Rows leave the batch, and the cache,
at their end mark.
"""

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.decode.sampling import (
    check_logits,
    check_request,
    check_temperature,
    gumbel_argmax,
    left_pad,
    read_for,
    rule_out,
)
from dlmlab.decode.trace import Sample, Step, Trace, cut_at_end
from dlmlab.network.cost import forward_flops
from dlmlab.network.kv import KV
from dlmlab.network.model import LLaDAModelLM


@torch.inference_mode()
def sample(
    model: LLaDAModelLM,
    prompts: Sequence[Sequence[int]] | Tensor | Mapping,
    *,
    attention_mask: Tensor | Sequence[Sequence[int]] | None = None,
    gen_length: int = limits.ANSWER_LENGTH,
    temperature: float = 0.0,
    cache: bool = True,
    generator: torch.Generator | None = None,
) -> Sample:
    """Generate up to `gen_length` tokens after each prompt, one a forward, left to right.

    `prompts` and `attention_mask` are those of `dlmlab.sampling.sample`, but no prompt is empty. `cache=False` reads
    the whole text again at every step (the tokens are the same, the cost is not). Raises `ValueError` when the model is
    not causal, and as the other loop does.
    """
    if model.config.attention != "causal":
        raise ValueError(
            f"attention={model.config.attention!r}: this decoder needs a causal model; use dlmlab.sampling.sample"
        )
    check_temperature(temperature)
    limits.switch("cache", cache)
    check_request(gen_length, temperature > 0, generator)
    mask_id, eos_id = model.config.mask_token_id, getattr(model.config, "eos_token_id", None)
    if eos_id is None:
        raise ValueError("the model has no config.eos_token_id: nothing would end a text")
    more = max(gen_length - 1, 0)  # the last token is written and not read
    texts = read_for(model, prompts, attention_mask, mask_id=mask_id, eos_id=eos_id, more=more, least=1)
    if masked := [i for i, text in enumerate(texts) if mask_id in text]:
        raise ValueError(f"prompts[{masked[0]}] holds the mask, {mask_id}: a causal model fills no masks")
    prompt, valid = left_pad(texts, eos_id, model.device)
    B, P = prompt.shape
    x = torch.cat([prompt, torch.full((B, gen_length), mask_id, device=model.device)], 1)
    trace = Trace(x.clone().cpu(), eos_id)
    valid = torch.cat([valid, torch.ones(B, gen_length, dtype=torch.bool, device=model.device)], 1)
    padded, never = not bool(valid.all()), torch.tensor([mask_id], device=model.device)
    length = valid[:, :P].sum(1)  # (B,), of each prompt
    kv = KV() if cache else None
    rows = torch.arange(B, device=model.device)
    for column in range(P, P + gen_length):
        start, past = time.perf_counter(), 0 if kv is None else len(kv)
        new = slice(past, column)  # what the cache has not seen
        mask = valid[rows, new] if padded else None
        logits = model(x[rows, new], mask, kv=kv, logits_to_keep=slice(-1, None)).logits  # (R, 1, V)
        logits = rule_out(logits, never, getattr(model.config, "vocab_size", None))
        used, place = torch.ones_like(rows[:, None], dtype=torch.bool), (length[rows] + column - P)[:, None]  # (R, 1)
        check_logits(logits, used, len(trace.steps) + 1, rows, place)
        logits = logits[:, -1]  # (R, V)
        tokens = gumbel_argmax(logits, temperature, generator)  # (R,)
        confidence = logits.softmax(-1).gather(-1, tokens[:, None])[:, 0]
        x[rows, column] = tokens
        q, going = column - past, tokens != eos_id
        fill = torch.zeros_like(x, dtype=torch.bool)
        fill[rows[~going], column + 1 :] = True  # the rest of a row that ends here
        x[fill] = eos_id
        trace.steps.append(
            Step(
                rows.cpu(),
                torch.stack([rows, torch.full_like(rows, column)], 1).cpu(),
                tokens.cpu(),
                confidence.cpu(),
                nfe=1,
                tokens_through=len(rows) * q,
                flops=len(rows) * forward_flops(model.config, q, column, logits=1),
                seconds=time.perf_counter() - start,
                filled=fill.nonzero().cpu(),
            )
        )
        if not bool(going.any()):
            break
        if not bool(going.all()):
            rows = rows[going]
            kv = kv.select(going) if kv is not None else None
    answers = [cut_at_end(row, eos_id) for row in x[:, P:].tolist()]
    return Sample(x, P, answers, trace)
