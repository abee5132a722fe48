"""Self-distillation through time (SDTT): what a teacher says after one more step, learned as if it were said at once.

A noised text goes through two steps of the teacher. Its first forward sees what the student will see; some masks become
tokens, drawn from it; its second forward sees these, too. The target of a place is the teacher's distribution *of the
step in which the place is unmasked*: of the first forward for what is unmasked there, of the second for all the rest.
The student has to give that in one forward.

Decisions
* Which places come first is plugged in (`first`): by chance, as published, or those of which the teacher is sure.
* The divergence of a place is KL(student || teacher), *reverse*, as published to be best, or KL(teacher || student).
  If the teacher's draws are right, the mean of its targets over the draws is what it said at the start, so the optimum
  of the second is the teacher itself; the optimum of the first is their geometric mean, which is sharper (`pooled`).
* The tokens of the first step are drawn, not true: where one answer is right, a single target may be further from it
  than the first guess; the mean of eight was not, on the problems of notebook 14.
* A step costs two forwards of the teacher and a forward and a backward of the student, 5/3 of a plain step
  (`plain_steps`): a control with as many steps is no control.

Source: Deschenaux and Gulcehre, arXiv 2410.21035, section 3; one round, and the teacher does not change. Which mean is
the optimum is derived here and held by tests.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab import limits

First = Callable[[Tensor, Tensor], Tensor]  # log p (B, L, V), masked (B, L) -> what is unmasked first (B, L)


def by_chance(share: float, generator: torch.Generator) -> First:
    """Unmask each place first with the probability `share`: ancestral sampling, where it is dt / t."""
    limits.number("share", share, 0, 1)
    return lambda log_p, masked: masked & (torch.rand(masked.shape, generator=generator) < share)


def if_sure(tau: float) -> First:
    """Unmask first what a threshold rule would commit: where the largest probability exceeds `tau`, and the surest."""
    limits.number("tau", tau, 0, 1)

    def first(log_p: Tensor, masked: Tensor) -> Tensor:
        p = log_p.amax(-1).exp().masked_fill(~masked, -1.0)
        return masked & ((p > tau) | (p == p.amax(-1, keepdim=True)))

    return first


def plain_steps(steps: int, teacher_forwards: int = 2) -> float:
    """Say how many steps of plain training cost as much as `steps` of distillation.

    A backward costs two forwards, so a plain step costs three; a teacher's forward, which has no backward, one more.

    >>> plain_steps(30)
    50.0
    """
    limits.whole("steps", steps, 0)
    limits.whole("teacher_forwards", teacher_forwards, 0)
    return steps * (3 + teacher_forwards) / 3


def two_step_target(teacher: Callable, xt: Tensor, mask_id: int, *, first: First, generator: torch.Generator) -> Tensor:
    """Let a teacher take two steps from xt, and give its log p of the step in which each place is unmasked.

    The first step reveals where `first(log p, masked)` says so, tokens drawn at temperature 1; the second all the rest.
    `teacher`: ids (B, L) -> logits (B, L, V), or an object with `.logits`. Shapes: xt (B, L) -> (B, L, V), the mask at
    -inf. `xt` is not changed, and no gradient flows into the teacher.
    """
    with torch.no_grad():
        early = _log_p(teacher, xt, mask_id)
        now = first(early, xt == mask_id)
        drawn = torch.multinomial(early.exp().flatten(0, 1), 1, generator=generator).view(xt.shape)
        late = _log_p(teacher, torch.where(now, drawn, xt), mask_id)
        return torch.where(now[..., None], early, late)


def _log_p(model: Callable, ids: Tensor, mask_id: int) -> Tensor:
    out = model(ids)
    logits = getattr(out, "logits", out)
    return logits.index_fill(-1, torch.tensor([mask_id], device=logits.device), -torch.inf).log_softmax(-1)


def divergence(logits: Tensor, target: Tensor, *, reverse: bool = True) -> Tensor:
    """Give KL(student || target) of every place, or KL(target || student), in nats.

    Shapes: logits (N, V) of the student, target (N, V) log p -> (N,). A token that the target rules out is ruled out
    for the student, too.

    >>> s, t = torch.tensor([[0.8, 0.15, 0.05]]).log(), torch.tensor([[0.6, 0.3, 0.1]]).log()
    >>> f"{divergence(s, t).item():.2f}, {divergence(s, t, reverse=False).item():.2f}"
    '0.09, 0.10'
    """
    open = target > -torch.inf
    target = target.masked_fill(~open, -1e4)
    own = logits.float().masked_fill(~open, -1e4).log_softmax(-1)
    a, b = (own, target) if reverse else (target, own)
    return (a.exp() * (a - b)).sum(-1)


def pooled(targets: Tensor, weight: Tensor, *, reverse: bool) -> Tensor:
    """Give the one distribution with the least mean divergence to several targets: for the reverse direction their
    geometric mean, normalised, for the other the plain mean.

    Shapes: targets (R, V) probabilities, weight (R,) with sum 1 -> (V,).

    >>> pooled(torch.tensor([[0.9, 0.1], [0.5, 0.5]]), torch.tensor([0.5, 0.5]), reverse=True)
    tensor([0.7500, 0.2500])
    """
    if reverse:
        return (weight[:, None] * targets.log()).sum(0).softmax(-1)
    return (weight[:, None] * targets).sum(0)
