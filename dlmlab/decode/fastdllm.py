"""Fast-dLLM's loop with its dual cache, written out step by step: a peer, compared with ours in tokens and in time.

Blocks are filled from left to right. The first forward of a block reads the whole text and stores all keys and values;
the others read the block alone, and its keys and values replace the stored ones, until no row has a mask in the block.
Every forward commits what reaches the threshold, and the surest place of every row that has a mask. As published,
logits are made for all that is read, softened in float64, and rows that are full stay in the batch.

The tokens are those of `Sampler(commit=Threshold(tau), block_length=K, cache=DualCache())`, but for three cases:

* Masks inside a prompt. Here they are seen in the first forward of a block only, and one that never reaches the
  threshold may be left over; ours fills them with the first block.
* The mask token. Here it keeps its share of the probability, and where it is the best proposal nothing is committed:
  the published loop then runs for ever, this one raises. Ours rules it out before the softmax.
* Rounding. A confidence that differs from the threshold by less than float32 can tell may fall on either side.

Versions of the published code differ in forwards, not in tokens: the first one (June 2025) reads a full block once
more, a compiled one reads each block a fixed number of times. This is the one between them, with the fewest.

Source of the semantics: Fast-dLLM, arXiv 2505.22618, section 3, and its code, in own words. Added: left padding; a
last block that may be shorter; ties go to the lowest column.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.decode.sampling import check_logits, check_request, left_pad, read_for
from dlmlab.network.kv import KV


@torch.inference_mode()
def generate(
    model,
    prompts: Sequence[Sequence[int]],
    *,
    gen_length: int = limits.ANSWER_LENGTH,
    block_length: int = 32,
    tau: float = 0.9,
) -> Tensor:
    """Fill `gen_length` masks after each prompt, block by block, (B, P + G).

    `tau`: the probability from which a token is committed. Raises `ValueError` for a block or threshold that is none,
    for a model that does not read both sides, and where it proposes the mask in every place that is left.
    """
    check_request(gen_length, False, None)
    limits.whole("block_length", block_length, 1)
    limits.number("tau", tau, most=2)
    if model.config.attention != "full":
        raise ValueError(
            f"attention={model.config.attention!r}: this loop is for a model that reads both sides, 'full'"
        )
    mask_id, eos_id = model.config.mask_token_id, model.config.eos_token_id
    rows = read_for(model, prompts, None, mask_id=mask_id, eos_id=eos_id, more=gen_length)
    prompt, valid = left_pad(rows, eos_id, model.device)
    (B, P), L = prompt.shape, prompt.shape[1] + gen_length
    x = torch.cat([prompt, torch.full((B, gen_length), mask_id, device=model.device)], 1)  # (B, L)
    valid = torch.cat([valid, torch.ones(B, gen_length, dtype=torch.bool, device=model.device)], 1)
    place, padding = valid.cumsum(1) - 1, None if bool(valid.all()) else valid  # (B, L) both
    forward = 0
    for start in range(P, L, block_length):
        end = min(start + block_length, L)
        block = torch.arange(start, end, device=model.device)
        kv, forward = KV(), forward + 1
        logits = model(x, padding, kv=kv).logits  # (B, L, V); all keys and values are stored
        masked = x == mask_id
        masked[:, end:] = False
        check_logits(logits, masked, forward, torch.arange(B), place)
        x = torch.where(transfer(logits, masked, tau), logits.argmax(-1), x)
        while (left := int((x[:, block] == mask_id).sum())) > 0:
            forward += 1
            logits = model(x[:, block], kv=kv, positions=block).logits  # (B, K, V); the block's keys are replaced
            masked = x[:, block] == mask_id
            check_logits(logits, masked, forward, torch.arange(B), place[:, block])
            x[:, block] = torch.where(transfer(logits, masked, tau), logits.argmax(-1), x[:, block])
            if int((x[:, block] == mask_id).sum()) == left:
                raise ValueError(
                    f"forward {forward} proposes the mask, {mask_id}, in every place it would fill ({left} are left): "
                    "the published loop never ends here; dlmlab.sampling rules the mask out"
                )
    return x


def transfer(logits: Tensor, masked: Tensor, tau: float) -> Tensor:
    """Choose the masked places whose best token has a probability of `tau` or more, and the surest of each row.

    Shapes: logits (B, C, V), masked (B, C) bool -> (B, C) bool.
    """
    confidence = logits.double().softmax(-1).amax(-1).masked_fill(~masked, -torch.inf)  # (B, C)
    chosen = masked & (confidence >= tau)
    for row in masked.any(1).nonzero()[:, 0]:
        chosen[row, confidence[row].argsort(descending=True, stable=True)[0]] = True
    return chosen
