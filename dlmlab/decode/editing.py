"""The loop of LLaDA2.1 for one block of one text, in its shortest form: write masks, change what is written, stop.

    while masks are left, or the last forward changed something and forwards are left:
        p, v = probability and id of the most probable token at every place
        write   where a mask stands and p > tau; the surest mask if there is none
        change  where a written token stands, v is another one and p > edit_tau

The sampler does the same for batches, caches and every rule (`dlmlab.sampling`, `dlmlab.edit`); here all of it can be
seen at once. A model may change its mind for ever, A to B and back, so what ends the loop is not the model but `extra`:
the number of forwards that may read a block without masks.

Source: LLaDA2.1, arXiv 2602.08676, section 3, and its released generation code (thresholds, 16 extra forwards).
"""

from collections.abc import Callable

import torch
from torch import Tensor


def write_block(
    denoise: Callable[[Tensor], Tensor],
    x: Tensor,
    mask_id: int,
    *,
    tau: float = 0.95,
    edit_tau: float = 0.9,
    extra: int = 16,
) -> tuple[Tensor, int]:
    """Fill the masks of a block and edit what was written; returns the text and the number of forwards.

    `denoise` maps ids (L,) to logits (L, V); the mask itself is never written. What stands in x from the start is
    never edited. A block without masks is returned unread. Shapes: x (L,) -> (L,). `x` is not changed.
    """
    x, given, forwards, changed = x.clone(), x != mask_id, 0, True
    while bool((x == mask_id).any()) or (forwards and changed and extra > 0):
        masked = x == mask_id
        extra -= not bool(masked.any())
        logits = denoise(x).clone()
        forwards += 1
        logits[:, mask_id] = float("-inf")
        p, v = logits.softmax(-1).max(-1)  # (L,) both
        write = masked & (p > tau)
        if bool(masked.any()) and not bool(write.any()):
            write[p.masked_fill(~masked, -1.0).argmax()] = True
        edit = ~masked & ~given & (v != x) & (p > edit_tau)
        x = torch.where(write | edit, v, x)
        changed = bool(masked.any()) or bool(edit.any())
    return x, forwards
