"""Revising while writing: rules that give tokens up for masks, as plug-ins of the decode loop (`edit.Exchange`).

    sample(model, prompts, sampler=Sampler(commit=Fixed(8), edit=P2(eta=0.5)))

Decisions
* Both rules keep the schedule: after a forward as many tokens stand as without them. So a run takes as many forwards
  as its plan says, and a plain run with this plan is the control.
* P2 with the model as its own planner: of *all* places of the block, written or not, those stay or are written that
  are the surest. A mask counts with the probability of its proposal, a token with `eta` times its own. eta large: the
  plain schedule. The probability of a visible token is one that a masked model was never trained to give.
* ReMDM draws what is masked again: every token with probability sigma = eta sigma_max, or one in all with that
  probability, the less sure a token was when it was written the likelier ("confidence" schedule). Its posterior writes
  each mask with the probability that keeps the noise level in the mean; here the level is kept exactly, by counts.

Sources: P2, arXiv 2502.03540 (our reading of self-planning); ReMDM, arXiv 2503.00307, sections 3 and 4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.decode.commit import NEG_INF, order_of
from dlmlab.decode.edit import Exchange, Written


def given_up(confidence: Tensor, present: Tensor, masked: Tensor, written: Tensor, due: Tensor, eta: float) -> Tensor:
    """Mark the tokens that are not among the surest of all places, (B, L) bool.

    As many places stand after the forward as are written now and due, n = written + due. Of places that hold a mask,
    score `confidence`, or a written token, score `eta` times `present`, the n best stay or are written, ties to the
    lowest index; written tokens outside are given up. Other places (a prompt) have no part in it. Shapes: confidence,
    present (B, L), masked, written (B, L) bool, due (B,) -> (B, L) bool. Source: P2, arXiv 2502.03540.
    """
    score = torch.where(written, eta * present, confidence)
    stay = order_of(score, masked | written)[1] < (written.sum(1) + due)[:, None]
    return written & ~stay


@dataclass(frozen=True)
class P2(Exchange):
    """Keep the surest of all places: a token counts `eta` times its probability (path planning, self-planning)."""

    eta: float = 0.5

    def __post_init__(self) -> None:
        limits.number("eta", self.eta, 0)

    def __call__(self, w: Written) -> tuple[Tensor, Tensor]:
        again = given_up(w.confidence, w.present, w.masked, w.editable, w.due, self.eta)
        return torch.zeros_like(again), again


def largest_sigma(alpha_t: Tensor, alpha_s: Tensor) -> Tensor:
    """Give the most that may be masked again when the keep probability goes from alpha_t up to alpha_s: min(1, (1 -
    alpha_s) / alpha_t)."""
    return ((1 - alpha_s) / alpha_t).clamp(max=1)  # alpha_t = 0: inf, so 1


def remasking_posterior(alpha_t: Tensor, alpha_s: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Give ReMDM's probabilities that a mask is written, and that a token is kept, on the way from t to s < t.

    write = (alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t), keep = 1 - sigma: for every sigma the share of written
    tokens is alpha_s after it if it was alpha_t before. sigma = 0 is the plain reverse step. Raises `ValueError` for a
    sigma outside 0 to `largest_sigma`. Shapes: any that broadcast. Source: ReMDM, arXiv 2503.00307, equation 6.

    >>> write, keep = remasking_posterior(*torch.tensor([0.4, 0.5, 0.1]))
    >>> round(float(write), 6), round(float(keep), 6)
    (0.233333, 0.9)
    """
    if bool((sigma < 0).any() | (sigma > largest_sigma(alpha_t, alpha_s) + 1e-7).any()):
        raise ValueError(f"sigma={sigma} is outside 0 to {largest_sigma(alpha_t, alpha_s)}")
    return (alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t), 1 - sigma


@dataclass(frozen=True)
class ReMDM(Exchange):
    """Mask tokens again at random, `eta` times as often as the noise level allows.

    `by`: "random", every token alike, or "stored", in all as often as one token would be, those that were written with
    less confidence more often. Needs the generator of `sample`.
    """

    eta: float = 0.5
    by: str = "random"

    def __post_init__(self) -> None:
        limits.number("eta", self.eta, 0, 1)
        if self.by not in ("random", "stored"):
            raise ValueError(f"by={self.by!r} is unknown; known: random, stored")

    def __call__(self, w: Written) -> tuple[Tensor, Tensor]:
        if w.generator is None:
            raise ValueError(f"{self} draws: it needs generator=torch.Generator().manual_seed(...)")
        masks, tokens = w.masked.sum(1), w.editable.sum(1)  # (R,) both
        places = (masks + tokens).double()
        sigma = self.eta * largest_sigma(tokens / places, (tokens + w.due) / places)[:, None]  # (R, 1)
        if self.by == "stored":  # no token yet: all -inf, whose softmax is no number
            sure = (-w.stored.double()).masked_fill(~w.editable, NEG_INF).softmax(-1)
            sigma = sigma * torch.where(w.editable, sure, 0.0)
        u = torch.rand(w.ids.shape, generator=w.generator, dtype=torch.float64, device=w.ids.device)
        drawn = (u < sigma) & w.editable
        room = (masks - w.due)[:, None]  # more than that cannot be given up: those drawn first
        return torch.zeros_like(drawn), drawn & (order_of(-u, drawn)[1] < room)
