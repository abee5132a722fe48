"""What a token is drawn from: the proposal, a plug-in of the decode loop beside commit and edit rules.

    sample(model, prompts, sampler=Sampler(proposal=Truncated(top_p=0.9)), generator=...)

Decisions
* A proposal turns logits into a distribution q and knows nothing of places: which place is committed stays a matter of
  score and commit rule, on the clean logits. So two proposals are compared under one order.
* The distribution is drawn from with Gumbel noise in float64, as the plain sampler does.

Sources: `dlmlab.simplex` and `dlmlab.coverage`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.decode import coverage, simplex


@dataclass(frozen=True)
class Proposal:
    """A rule from logits (..., V) to a distribution (..., V), after division by `temperature`.

    Raises `ValueError` for a temperature that is not above 0: greedy decoding is a sampler without a proposal.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        limits.number("temperature", self.temperature, 0, open="<")

    def __call__(self, logits: Tensor) -> Tensor:
        """Give the distribution that tokens are drawn from, float64."""
        return self.shape(logits.double() / self.temperature)

    def shape(self, scores: Tensor) -> Tensor:
        """Turn scores into a distribution."""
        raise NotImplementedError


@dataclass(frozen=True)
class Softmax(Proposal):
    """The plain proposal."""

    def shape(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1)


@dataclass(frozen=True)
class Truncated(Proposal):
    """Softmax on a support: the `top_k` best, the nucleus of mass `top_p`, what reaches `min_p` of the best; if several
    are given, on what all of them keep. The temperature comes first, as in common libraries."""

    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def shape(self, scores: Tensor) -> Tensor:
        keep = scores > -torch.inf
        for rule, value in ((simplex.top_k, self.top_k), (simplex.top_p, self.top_p), (simplex.min_p, self.min_p)):
            keep = keep if value is None else keep & rule(scores, value)
        return simplex.softmax_on(scores, keep)


@dataclass(frozen=True)
class Entmax(Proposal):
    """Entmax of order `alpha`: 1 is softmax, 2 sparsemax."""

    alpha: float = 2.0

    def shape(self, scores: Tensor) -> Tensor:
        return simplex.sparsemax(scores) if self.alpha == 2 else simplex.entmax(scores, self.alpha)


@dataclass(frozen=True)
class BestOf(Proposal):
    """What `K` independent draws cover the softmax best with, held to it by `anchor` times a KL divergence."""

    K: int = 1
    anchor: float = 0.0

    def shape(self, scores: Tensor) -> Tensor:
        p = scores.softmax(-1)
        if not self.anchor:
            return coverage.water_filling(p, self.K)
        return coverage.best_of_k(p, self.K, anchor=self.anchor)
