"""LLaDA's published sampler, written out literally: equal prompts, a fixed number of forwards, nothing of `dlmlab`.

Source: arXiv 2502.09992, appendix B.4, equation 16. Added: the mask is never proposed, ties go to the lowest index.
"""

import torch


@torch.no_grad()
def reference_states(model, prompt, *, mask_id, steps, length, block, T=0.0, w=0.0, random=False, generator=None):
    """Return the ids (B, P + G) before the first forward and after each."""
    assert length % block == 0 and steps % (length // block) == 0
    (B, P), blocks = prompt.shape, length // block
    x = torch.full((B, P + length), mask_id)
    x[:, :P] = prompt
    given, forwards, states = x != mask_id, steps // blocks, [x.clone()]
    for b in range(blocks):
        end = P + (b + 1) * block
        due = (x[:, end - block : end] == mask_id).sum(1).tolist()
        for i in range(forwards):
            logits = model(x, None)  # the whole sequence: later blocks are visible masks
            if w > 0:
                blind = x.clone()
                blind[given] = mask_id
                un = model(blind, None)
                logits = un + (w + 1) * (logits - un)
            logits[:, :, mask_id] = -torch.inf
            x0 = logits.argmax(-1)
            if T > 0:
                u = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
                x0 = (logits.double().exp() / (-u.log()) ** T).argmax(-1)
            if random:
                confidence = torch.rand((B, P + length), generator=generator)
            else:  # of the clean logits, at temperature 1 whatever T is
                confidence = logits.softmax(-1).gather(-1, x0[..., None])[..., 0]
            for row in range(B):
                n = due[row] // forwards + (i < due[row] % forwards)
                masked = [c for c in range(end) if x[row, c] == mask_id]
                for c in sorted(masked, key=lambda c: (-float(confidence[row, c]), c))[:n]:
                    x[row, c] = x0[row, c]
            states.append(x.clone())
    return states
