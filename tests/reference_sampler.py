"""LLaDA's published sampler, written out literally: one batch of equal prompts, a fixed number of forwards, nothing shared with `dlmlab`.

Semantics: arXiv 2502.09992, appendix B.4 and equation 16. Two choices the paper leaves open: the mask is never proposed, and ties go to the lowest index.
"""

import torch


@torch.no_grad()
def reference_states(
    model,
    prompt,
    *,
    mask_id,
    steps,
    gen_length,
    block_length,
    temperature=0.0,
    w=0.0,
    order="low_confidence",
    generator=None,
) -> list[torch.Tensor]:
    """Return the ids (B, P + G) before the first forward and after each."""
    assert gen_length % block_length == 0 and steps % (gen_length // block_length) == 0
    (B, P), blocks = prompt.shape, gen_length // block_length
    x = torch.full((B, P + gen_length), mask_id)
    x[:, :P] = prompt
    given, forwards, states = x != mask_id, steps // blocks, [x.clone()]
    for b in range(blocks):
        end = P + (b + 1) * block_length
        due = (x[:, end - block_length : end] == mask_id).sum(1).tolist()
        for i in range(forwards):
            logits = model(x, None)  # the whole sequence: later blocks are visible masks
            if w > 0:
                blind = x.clone()
                blind[given] = mask_id
                un = model(blind, None)
                logits = un + (w + 1) * (logits - un)
            logits[:, :, mask_id] = -torch.inf
            x0 = logits.argmax(-1)
            if temperature > 0:
                u = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
                x0 = (logits.double().exp() / (-u.log()) ** temperature).argmax(-1)
            if order == "random":
                confidence = torch.rand((B, P + gen_length), generator=generator)
            else:  # of the clean logits, at temperature 1
                confidence = logits.softmax(-1).gather(-1, x0[..., None])[..., 0]
            for row in range(B):
                n = due[row] // forwards + (i < due[row] % forwards)
                masked = [c for c in range(end) if x[row, c] == mask_id]
                for c in sorted(masked, key=lambda c: (-float(confidence[row, c]), c))[:n]:
                    x[row, c] = x0[row, c]
            states.append(x.clone())
    return states
