"""The published sampler, written out step by step: what the packaged loop is compared with in tokens and in time.

Nothing is saved here. Every step reads the whole sequence, makes logits everywhere, softens all of them, and the rows
are ranked one by one. Greedy only; Gumbel noise and guidance are in `dlmlab.sampling`.

Source of the semantics: LLaDA, arXiv 2502.09992, appendix B.4, in own words. Added: left padding, so that prompts of
unequal lengths share a batch; ties go to the lowest column.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dlmlab.decode.commit import num_transfer_tokens
from dlmlab.decode.sampling import check_logits, check_request, left_pad, read_for
from dlmlab.limits import ANSWER_LENGTH


@torch.inference_mode()
def generate(
    model,
    prompts: Sequence[Sequence[int]],
    *,
    gen_length: int = ANSWER_LENGTH,
    steps: int | None = None,
    block_length: int | None = None,
    float64: bool = False,
) -> Tensor:
    """Fill `gen_length` masks after each prompt in `steps` forwards (default: one token each), (B, P + G).

    `float64` softens the logits in double precision, as some versions do. Raises `ValueError` when blocks do not
    divide the answer, or the steps do not divide among the blocks.
    """
    check_request(gen_length, False, None)
    steps, block_length = steps or gen_length, block_length or gen_length
    blocks = gen_length // block_length
    if gen_length % block_length or steps % blocks:
        raise ValueError(
            f"gen_length={gen_length}, block_length={block_length}, steps={steps}: each block must be whole"
        )
    mask_id = model.config.mask_token_id
    eos_id = model.config.eos_token_id
    rows = read_for(model, prompts, None, mask_id=mask_id, eos_id=eos_id, more=gen_length)
    prompt, valid = left_pad(rows, eos_id, model.device)
    x = torch.cat([prompt, torch.full((len(prompt), gen_length), mask_id)], 1)  # (B, L)
    valid = torch.cat([valid, torch.ones(len(prompt), gen_length, dtype=torch.bool)], 1)
    for b in range(blocks):
        start, end = prompt.shape[1] + b * block_length, prompt.shape[1] + (b + 1) * block_length
        masks = (x[:, start:end] == mask_id).sum(1)
        due = [num_transfer_tokens(int(m), steps // blocks) for m in masks]
        for i in range(steps // blocks):
            masked = x == mask_id
            logits = model(x, valid).logits  # (B, L, V)
            used = masked & (torch.arange(x.shape[1]) < end)
            check_logits(logits, used, b * steps // blocks + i + 1, torch.arange(len(x)), valid.cumsum(1) - 1)
            x0 = logits.argmax(-1)
            p = (logits.double() if float64 else logits).softmax(-1)
            confidence = p.gather(-1, x0[..., None])[..., 0]
            confidence[:, end:] = -torch.inf
            x0 = torch.where(masked, x0, x)
            confidence = torch.where(masked, confidence, -torch.inf)
            for row in range(len(x)):
                best = confidence[row].argsort(descending=True, stable=True)[: due[row][i]]
                x[row, best] = x0[row, best]
    return x
