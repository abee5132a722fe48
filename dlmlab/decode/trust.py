"""Three confidences of a token that is already written: how much each is worth is for lab 13 to measure.

* *stored*: the probability with which it was written. Free, and as old as the token: what was written later is not in
  it.
* *re-evaluated*: its probability in one more forward, in which it is visible. Up to date; but a masked model has no
  loss at visible places, so it was never asked for that number.
* *leave-one-out*: its probability when it alone is masked. Up to date, and what the model was trained to give; one
  sequence for every token. The target that PRISM's head learns to give in one forward.

Shapes: L tokens of a text, n of them in question. A confidence of places that are not in question is 1.

Sources: ReMDM, arXiv 2503.00307 (stored); PRISM, arXiv 2510.01384 (leave-one-out, and a head for it).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dlmlab.decode.trace import Trace


def stored(trace: Trace) -> Tensor:
    """Read from a trace how sure the model was of each token when it wrote it, (B, L); of given tokens, 1."""
    found = torch.ones(trace.start.shape)
    for step in trace.steps:
        found[step.at[:, 0], step.at[:, 1]] = step.confidence.float()
    return found


def reevaluated(denoise: Callable[[Tensor], Tensor], x: Tensor, places: Tensor, mask_id: int) -> Tensor:
    """Give the probability of each token with the whole text visible, (L,): one sequence through the network.

    `denoise` maps ids (B, L) to logits (B, L, V). The mask itself is never written. Shapes: x (L,), places (L,) bool ->
    (L,).
    """
    logits = denoise(x[None])[0].clone()  # (L, V)
    logits[:, mask_id] = float("-inf")
    p = logits.softmax(-1).gather(-1, x[:, None])[:, 0]
    return torch.where(places, p, torch.ones_like(p))


def alone(denoise: Callable[[Tensor], Tensor], x: Tensor, places: Tensor, mask_id: int) -> Tensor:
    """Give the distribution at every place in question when it alone is masked, (n, V): n sequences in one call.

    The mask itself is never written. Shapes: x (L,), places (L,) bool, n of them True.
    """
    at = places.nonzero()[:, 0]  # (n,)
    rows, i = x.repeat(len(at), 1), torch.arange(len(at), device=x.device)  # (n, L)
    rows[i, at] = mask_id
    logits = denoise(rows)[i, at].clone()  # (n, V)
    logits[:, mask_id] = float("-inf")
    return logits.softmax(-1)


def leave_one_out(denoise: Callable[[Tensor], Tensor], x: Tensor, places: Tensor, mask_id: int) -> Tensor:
    """Give the probability of each token when it alone is masked, (L,), 1 at places that are not in question.

    `denoise` maps ids (B, L) to logits (B, L, V); it is called once, with one row for each place in question. Shapes:
    x (L,), places (L,) bool. `x` is not changed. Source: PRISM, arXiv 2510.01384.
    """
    confidence = torch.ones(x.shape, device=x.device)
    if bool(places.any()):
        confidence[places] = alone(denoise, x, places, mask_id).gather(1, x[places][:, None])[:, 0].to(confidence)
    return confidence


def lowest_places(confidence: Tensor, places: Tensor, k: int) -> Tensor:
    """Mark the k places in question of lowest confidence, ties to the lowest index, (L,) bool; all if there are fewer.

    >>> lowest_places(torch.tensor([0.3, 0.1, 0.9, 0.2]), torch.tensor([True, False, True, True]), 2).tolist()
    [True, False, False, True]
    """
    order = confidence.masked_fill(~places, float("inf")).argsort(stable=True)
    chosen = torch.zeros_like(places)
    chosen[order[:k]] = True
    return chosen & places


def charged(calls: Sequence[Tensor], texts: int) -> Tensor:
    """Count the forwards that each text is charged with, (texts,): the sequences that were read for it.

    `calls`: for every call of the network, whose text each of its sequences was, (R,) whole numbers below `texts`. A
    text that a call read in n versions is charged n times. Raises `ValueError` for a text that is not there.

    >>> charged([torch.tensor([0, 1]), torch.tensor([1, 1, 1])], 3).tolist()
    [1, 4, 0]
    """
    whose = torch.cat([torch.empty(0, dtype=torch.long), *calls])
    if bool(((whose < 0) | (whose >= texts)).any()):
        raise ValueError(f"texts are 0..{texts - 1}, the calls name {whose.unique().tolist()}")
    return torch.bincount(whose, minlength=texts)
