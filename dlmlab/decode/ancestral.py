"""Ancestral sampling under any noise: from pure noise to a clean text in T steps back, and one edit of a wrong text.

Decisions
* Times are an even grid, alpha = 0, 1/T, ..., 1. The last step ends at alpha = 1, where the step back is the belief
  p(x | z) itself, so no noise is left over. `tail` says how that last step decides: by a draw, or by its best token
  (the *greedy tail*).
* All formulas are those of `dlmlab.priors`; the network gives leave-one-out logits, with -inf for the mask.
* Draws are made in float64 (single precision cuts off the tail of the Gumbel noise: arXiv 2409.02908).

Sources: XDLM, arXiv 2602.01362 (step back for any mixture); Schiff et al., arXiv 2412.10193 (greedy tail); the edit of
one token at a time is the self-correction of GIDD, arXiv 2503.04482, without its draw.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.objective.priors import belief, reverse_posterior

Denoise = Callable[[Tensor, Tensor], Tensor]  # (ids (B, L), alpha (B,)) -> logits (B, L, V)


def draw(p: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one id a place: p (..., V) -> (...)."""
    flat = p.double().flatten(0, -2)
    return torch.multinomial(flat, 1, generator=generator)[:, 0].view(p.shape[:-1])


@torch.no_grad()
def ancestral(
    denoise: Denoise, x: Tensor, free: Tensor, *, prior: Tensor, T: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Write the free places of `x` in T forwards; returns ids (B, L) for both ends: `draw` and `greedy`.

    Shapes: x (B, L), free (B, L) bool, prior (V,). The two texts share all steps but the last decision, so their
    difference is the tail's alone. Raises `ValueError` for T < 1.
    """
    if T < 1:
        raise ValueError(f"T={T} must be >= 1")
    start = torch.multinomial(prior, x.numel(), replacement=True, generator=generator).view(x.shape)
    z = torch.where(free, start, x)
    for step in range(T):
        alpha_t, alpha_s = (torch.full((len(z),), n / T, dtype=torch.float64) for n in (step, step + 1))
        p = reverse_posterior(denoise(z, alpha_t), z, alpha_t=alpha_t, alpha_s=alpha_s, prior=prior)
        drawn = torch.where(free, draw(p, generator), x)
        if step == T - 1:
            return {"draw": drawn, "greedy": torch.where(free, p.argmax(-1), x)}
        z = drawn
    raise AssertionError("unreachable")


DETECTORS = ("leave-one-out", "belief")


def edit_once(logits: Tensor, z: Tensor, free: Tensor, *, alpha: Tensor, prior: Tensor, by: str) -> Tensor:
    """Change at most one free token a row: where another id is preferred to the present one, the surest such place.

    `by`: what is compared. `leave-one-out`: the softmax of the logits, which does not know the present token.
    `belief`: the same times q_t(z | v), which counts it (`priors.belief`). Shapes: logits (B, L, V), z and free (B, L),
    alpha (B,) -> (B, L). Raises `ValueError` for another name.
    """
    if by not in DETECTORS:
        raise ValueError(f"by={by!r} is unknown; known: {', '.join(DETECTORS)}")
    p = logits.double().softmax(-1) if by == "leave-one-out" else belief(logits, z, alpha=alpha, prior=prior)
    best, present = p.max(-1), p.gather(-1, z[..., None])[..., 0]
    gain = (best.values - present).masked_fill(~free | (best.indices == z), 0.0)  # (B, L)
    at = F.one_hot(gain.argmax(-1), z.shape[1]).bool() & (gain > 0)
    return torch.where(at, best.indices, z)
