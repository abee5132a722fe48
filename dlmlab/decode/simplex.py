"""Decoding as one problem on the probability simplex: argmax over q of <q, s> - T Omega(q), in closed form.

Decisions
* A decoder turns the scores of one place (logits s) into a distribution q from which the token is drawn. Omega says
  what a distribution costs: its negative entropy gives softmax, half of its squared length gives sparsemax, a Tsallis
  entropy what lies between. Top-k, top-p and min-p are softmax on a support that a rule chooses.
* A score of -inf rules a token out; of equal scores the lowest index comes first.
* `exchange_gain` certifies any answer without knowing how it was found: 0 if and only if no move of probability from
  one token to another is worth anything.

The master problem and its instances: arXiv 2602.18292 (abstract and introduction read). Sparsemax: Martins and
Astudillo, arXiv 1602.02068. Entmax: Peters et al., arXiv 1905.05702. Top-p: Holtzman et al., arXiv 1904.09751. Min-p:
arXiv 2407.01082. The remarks on which of them is convex are derived in notebook 10.
"""

import torch
from torch import Tensor

from dlmlab import limits

NEG_INF = -torch.inf


def sparsemax(scores: Tensor) -> Tensor:
    """Give the distribution nearest to the scores: max(s_v - tau, 0), tau such that the sum is 1.

    It is the argmax over q of <q, s> - sum q^2 / 2, and most of its entries are exactly 0. Shapes: (..., V) -> (...,
    V). Source: Martins and Astudillo, arXiv 1602.02068, algorithm 1.

    >>> sparsemax(torch.tensor([2.0, 1.5, 0.5, 0.0]))
    tensor([0.7500, 0.2500, 0.0000, 0.0000])
    """
    s = scores.sort(dim=-1, descending=True).values
    total, count = s.cumsum(-1), torch.arange(1, s.shape[-1] + 1, device=s.device)
    size = (1 + count * s > total).sum(-1, keepdim=True)  # how many tokens keep a share
    tau = (total.gather(-1, size - 1) - 1) / size
    return (scores - tau).clamp(min=0)


def entmax(scores: Tensor, alpha: float) -> Tensor:
    """Give the argmax over q of <q, s> + the Tsallis entropy of order alpha, (..., V); 1 is softmax, 2 sparsemax.

    q_v = max((alpha - 1) s_v - tau, 0)^(1 / (alpha - 1)), tau by bisection. Source: arXiv 1905.05702.
    """
    limits.number("alpha", alpha, 1)
    if alpha == 1:
        return scores.softmax(-1)
    z = (alpha - 1) * scores
    high = z.amax(-1, keepdim=True)  # at this tau the sum is 0
    low = high - 1  # at this one the best token alone has 1
    for _ in range(60):
        tau = (low + high) / 2
        enough = ((z - tau).clamp(min=0) ** (1 / (alpha - 1))).sum(-1, keepdim=True) >= 1
        low, high = torch.where(enough, tau, low), torch.where(enough, high, tau)
    q = (z - low).clamp(min=0) ** (1 / (alpha - 1))
    return q / q.sum(-1, keepdim=True)


def softmax_on(scores: Tensor, keep: Tensor) -> Tensor:
    """Give the softmax over a support, (..., V); `keep` (..., V) bool."""
    return scores.masked_fill(~keep, NEG_INF).softmax(-1)


def top_k(scores: Tensor, k: int) -> Tensor:
    """Mark the k largest scores, (..., V) bool."""
    limits.whole("k", k, 1)
    order = scores.argsort(dim=-1, descending=True, stable=True)[..., :k]
    return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order, True)


def top_p(scores: Tensor, mass: float) -> Tensor:
    """Mark the smallest set of best tokens whose softmax has `mass` or more, (..., V) bool."""
    limits.number("mass", mass, 0, 1, open="<")
    order = scores.argsort(dim=-1, descending=True, stable=True)
    p = scores.softmax(-1).gather(-1, order)
    before = p.cumsum(-1) - p  # what the better ones have already
    return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order, before < mass)


def min_p(scores: Tensor, ratio: float) -> Tensor:
    """Mark tokens at least `ratio` times as probable as the best one, (..., V) bool."""
    limits.number("ratio", ratio, 0, 1)
    p = scores.softmax(-1)
    return p >= ratio * p.amax(-1, keepdim=True)


def exchange_gain(q: Tensor, slope: Tensor) -> float:
    """Say how fast the value rises if probability moves from one token to another, in the best case.

    `slope` (V,): by how much the value rises for each unit of probability on a token. Probability can be *given* to any
    token and *taken* only from one that has some. 0 means that q (V,) is optimal, if the value is concave. Raises
    `ValueError` for a q that is no distribution, up to 1e-3, as tables are rounded.

    >>> exchange_gain(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 3.0]))
    2.0
    """
    if bool((q < 0).any()) or abs(float(q.sum()) - 1) > 1e-3:
        raise ValueError(f"no distribution: the least entry is {float(q.min()):.3f}, the sum {float(q.sum()):.3f}")
    return float(slope.max() - slope[q > 0].min())
