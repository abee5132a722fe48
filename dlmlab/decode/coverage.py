"""From which distribution should K tokens be drawn, so that the truth is among them? Coverage, and its exact optimum.

Decisions
* K independent draws from q hit token v with probability 1 - (1 - q_v)^K. With weights p that is the chance that the
  truth, if it is distributed as p, is among the draws: F(q) = sum_v p_v (1 - (1 - q_v)^K) - anchor KL(q || p).
* F is concave, so the optimum is where all tokens in use have the same slope nu, and unused ones a smaller one. Without
  an anchor that can be solved for q_v: *water-filling*. With one, two nested bisections do, without a step size.
* Mirror ascent is here as the comparison: it needs a step size, and cycles or diverges if that is too large.
* The K best tokens, each once, cover more than K draws from any q (for K = 1 as much): this is a model of parallel
  workers that do not talk to each other, not of a beam.

A KL-anchored coverage objective is proposed in arXiv 2602.18292 (Best-of-K). Its exact weights stand in parts of the
paper that were not read: this module is a coverage objective in its sense. Solver and bounds: derived here.
"""

import torch
from torch import Tensor

from dlmlab import limits

TINY = 1e-300  # keeps logarithms of a zero finite


def coverage(q: Tensor, p: Tensor, K: int) -> Tensor:
    """Give the chance that a draw from p (..., V) is among K independent draws from q (..., V), as (...)."""
    return (p * -torch.expm1(K * torch.log1p(-q.clamp(max=1)))).sum(-1)


def value(q: Tensor, p: Tensor, K: int, *, anchor: float = 0.0) -> Tensor:
    """Give coverage less `anchor` times KL(q || p); what p rules out, q must rule out, too."""
    kl = torch.where(q > 0, q * ((q + TINY).log() - (p + TINY).log()), 0.0).sum(-1)
    return coverage(q, p, K) - anchor * kl


def slope(q: Tensor, p: Tensor, K: int, *, anchor: float = 0.0) -> Tensor:
    """Give the derivative of `value` in every q_v, (..., V)."""
    gain = p * K * (1 - q) ** (K - 1)
    return gain - anchor * ((q + TINY).log() - (p + TINY).log() + 1) if anchor else gain


def water_filling(p: Tensor, K: int) -> Tensor:
    """Give the q from which K independent draws most often hit a draw from p.

    q_v = max(0, 1 - u r_v), r_v = p_v^(-1 / (K - 1)). If the n most probable tokens have a share, u = (n - 1) / (the
    sum of their r); n is the largest number for which the last of them gets one. For K = 1 all goes to the most
    probable token, of equals to the first. Shapes: p (..., V), sums of 1 -> q (..., V).

    >>> water_filling(torch.tensor([0.5, 0.3, 0.15, 0.05]).double(), 2)
    tensor([0.6250, 0.3750, 0.0000, 0.0000], dtype=torch.float64)
    """
    limits.whole("K", K, 1)
    if K == 1:
        return torch.nn.functional.one_hot(p.argmax(-1), p.shape[-1]).to(p)
    r = p.double() ** (-1 / (K - 1))  # inf where p is 0
    sorted_r = r.sort(dim=-1).values
    u = torch.arange(p.shape[-1], device=p.device) / sorted_r.cumsum(-1)  # for n = 1, 2, ... tokens
    n = (u * sorted_r < 1).sum(-1, keepdim=True)
    q = torch.where(p > 0, 1 - u.gather(-1, n - 1) * r, 0.0).clamp(min=0)
    return q.to(p)


def best_of_k(p: Tensor, K: int, *, anchor: float) -> Tensor:
    """Maximise `value` exactly: for a slope nu each q_v by bisection, nu by bisection until the sum is 1.

    Shapes: p (..., V), sums of 1 -> q (..., V). Raises `ValueError` for an anchor that is not above 0: `water_filling`.
    """
    limits.whole("K", K, 1)
    limits.number("anchor", anchor, 0, open="<")
    p64 = p.double()
    low = -anchor * torch.ones_like(p64[..., :1]) - 1  # at the least slope some q_v wants more than 1
    high = K + 700 * anchor * torch.ones_like(low)  # and at this one all want next to nothing
    for _ in range(50):
        nu = (low + high) / 2
        too_much = _at(p64, nu, K, anchor).sum(-1, keepdim=True) > 1
        low, high = torch.where(too_much, nu, low), torch.where(too_much, high, nu)
    q = _at(p64, high, K, anchor)
    return (q / q.sum(-1, keepdim=True)).to(p)


def _at(p: Tensor, nu: Tensor, K: int, anchor: float) -> Tensor:
    """Give every q_v whose slope is nu, by bisection of its logarithm: the slope falls in q_v, which may be tiny."""
    low, high = torch.full_like(p, -690.0), torch.zeros_like(p)
    for _ in range(52):
        x = (low + high) / 2
        steep = slope(x.exp(), p, K, anchor=anchor) > nu
        low, high = torch.where(steep, x, low), torch.where(steep, high, x)
    return torch.where(p > 0, low.exp(), 0.0)


def mirror_step(q: Tensor, p: Tensor, K: int, *, anchor: float, step: float) -> Tensor:
    """Take one step of mirror ascent: q exp(step * slope), normalised."""
    return ((q + TINY).log() + step * slope(q, p, K, anchor=anchor)).softmax(-1)
