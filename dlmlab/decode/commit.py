"""Which masked positions become tokens at a step: scores and commit rules, the plug-ins of the sampler.

A *score* ranks the masked positions (higher commits first); a *commit rule* decides how many of the best are taken.
All rules take at least one position of a row that has a candidate, except those with a plan, which follow their quota.
Ties go to the lowest index.

"rounded" is the probability to one decimal: what is about as sure goes from left to right (`dlmlab.speculation`).

Sources: LLaDA, arXiv 2502.09992 (low-confidence, random); Dream, arXiv 2508.15487 (margin, entropy); Fast-dLLM, arXiv
2505.22618 (threshold, factor); EB-Sampler, arXiv 2505.24857 (entropy bound).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dlmlab import limits

NEG_INF = float("-inf")


def _probability(p: Tensor, x0: Tensor, generator: torch.Generator | None) -> Tensor:
    return p.gather(-1, x0[..., None])[..., 0]


def _rounded(p: Tensor, x0: Tensor, generator: torch.Generator | None) -> Tensor:
    return (10 * _probability(p, x0, generator)).round() / 10


def _margin(p: Tensor, x0: Tensor, generator: torch.Generator | None) -> Tensor:
    best = p.topk(2, -1).values
    return best[..., 0] - best[..., 1]


def _negative_entropy(p: Tensor, x0: Tensor, generator: torch.Generator | None) -> Tensor:
    return (p * (p + 1e-10).log()).sum(-1)


def _random(p: Tensor, x0: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(x0.shape, generator=generator, device=x0.device)


def _left_to_right(p: Tensor, x0: Tensor, generator: torch.Generator | None) -> Tensor:
    return -torch.arange(x0.shape[-1], device=x0.device, dtype=p.dtype).expand(x0.shape)


# name -> (p (B, L, V), x0 (B, L), generator) -> score (B, L)
SCORES: dict[str, Callable[[Tensor, Tensor, torch.Generator | None], Tensor]] = {
    "probability": _probability,
    "rounded": _rounded,
    "margin": _margin,
    "neg_entropy": _negative_entropy,
    "random": _random,
    "left_to_right": _left_to_right,
}

# name -> what a threshold is compared with lies in this range
SCORE_RANGE = dict.fromkeys(("probability", "rounded", "margin", "random"), (0.0, 1.0)) | {
    "neg_entropy": (-math.inf, 0.0)
}


@dataclass
class Candidates:
    """What a commit rule may look at. `score` is -inf where nothing may be committed.

    Shapes: score (B, L), eligible (B, L) bool, confidence (B, L), p (B, L, V), quota (B,) positions due by the rule's
    plan, 1 where it has none.
    """

    score: Tensor
    eligible: Tensor
    confidence: Tensor
    p: Tensor
    quota: Tensor


def num_transfer_tokens(masks: int, steps: int) -> list[int]:
    """Spread `masks` commits over `steps` steps as evenly as possible, the larger parts first (LLaDA's schedule).

    >>> num_transfer_tokens(10, 4), num_transfer_tokens(3, 5)
    ([3, 3, 2, 2], [1, 1, 1, 0, 0])
    """
    if steps < 1 or masks < 0:
        raise ValueError(f"need steps >= 1 and masks >= 0, got {steps} and {masks}")
    base, rest = divmod(masks, steps)
    return [base + (i < rest) for i in range(steps)]


def order_of(score: Tensor, eligible: Tensor) -> tuple[Tensor, Tensor]:
    """Sort positions by falling score, eligible ones first, ties by lowest index; returns indices and the rank of
    each position, (B, L) both."""
    # Two stable sorts: an eligible position with score -inf still ranks above one that may not be committed.
    by_score = score.argsort(dim=-1, descending=True, stable=True)
    first = eligible.gather(-1, by_score).int().argsort(dim=-1, descending=True, stable=True)
    order = by_score.gather(-1, first)
    rank = torch.empty_like(order).scatter_(
        -1, order, torch.arange(order.shape[-1], device=order.device).expand(order.shape)
    )
    return order, rank


def _best(c: Candidates, n: Tensor) -> Tensor:
    """Take the `n` (B,) best eligible positions of each row, (B, L) bool."""
    return (order_of(c.score, c.eligible)[1] < n[:, None]) & c.eligible


def threshold_commit(score: Tensor, eligible: Tensor, tau: float, *, strict: bool = False) -> Tensor:
    """Choose every eligible position whose score reaches `tau`, and in each row always the best eligible one.

    Shapes: score (B, L), eligible (B, L) bool -> (B, L) bool. A row without an eligible position gets nothing. Ties
    for the best go to the lowest index. Source: Fast-dLLM, arXiv 2505.22618, section 3.3.
    """
    passed = score > tau if strict else score >= tau
    best = order_of(score, eligible)[1] == 0  # the position of rank 0
    return (passed | best) & eligible


class Commit:
    """A commit rule. One of your own is a subclass that says what is taken and, if it has a schedule, plans it."""

    def plan(self, masks: Tensor, block: int = 0, blocks: int = 1) -> Tensor | None:
        """Say how many positions of each row are due at each forward of a block, (B, S) whole numbers.

        `masks` (B,): what each row has to fill in this block, number `block` of `blocks`. The block then takes S
        forwards at most, and `Candidates.quota` holds what is due. None: no schedule; a forward commits one position or
        more of each row. Raises `ValueError` for what cannot be planned.
        """
        return None

    def check_score(self, score: str) -> None:
        """Raise `ValueError` when the rule cannot work with a key of `SCORES`."""

    def __call__(self, c: Candidates) -> Tensor:
        """Choose what is committed now, (B, L) bool."""
        raise NotImplementedError


@dataclass(frozen=True)
class Fixed(Commit):
    """Commit by quota: `steps` forwards in all, shared evenly; None means one token per forward."""

    steps: int | None = None

    def __post_init__(self) -> None:
        limits.whole("steps", self.steps, 1, optional=True)

    def plan(self, masks: Tensor, block: int = 0, blocks: int = 1) -> Tensor:
        """Share the steps among the blocks and the masks of each row among those of its block, the larger parts
        first."""
        if self.steps is not None and self.steps < blocks:
            raise ValueError(f"steps={self.steps} is less than the {blocks} blocks: every block needs a step")
        steps = max(int(masks.max()), 1) if self.steps is None else num_transfer_tokens(self.steps, blocks)[block]
        return torch.tensor([num_transfer_tokens(int(m), steps) for m in masks], device=masks.device)

    def __call__(self, c: Candidates) -> Tensor:
        return _best(c, c.quota)


@dataclass(frozen=True)
class Threshold(Commit):
    """Commit every position whose score reaches `tau`, and always the best one. `strict` demands more than `tau`
    (LLaDA2.x).

    A `tau` just above the largest score, 1, is how to say "one token per forward". Raises `ValueError` above 2: that
    is no threshold but a percentage.
    """

    tau: float
    strict: bool = False

    def __post_init__(self) -> None:
        limits.number("tau", self.tau, most=2)

    def check_score(self, score: str) -> None:
        """Raise `ValueError` when `tau` cannot be compared with this score."""
        if score == "left_to_right":
            raise ValueError(f"tau={self.tau} has nothing to compare with: score='left_to_right' only orders")
        low, high = SCORE_RANGE.get(score, (-math.inf, math.inf))
        if self.tau < low or self.tau > 0 == high:
            raise ValueError(f"tau={self.tau} is outside what score={score!r} can be: {low:g} to {high:g}")

    def __call__(self, c: Candidates) -> Tensor:
        strict = {"strict": True} if self.strict else {}  # a reader's function (`exercises.installed`) knows no option
        return threshold_commit(c.score, c.eligible, self.tau, **strict)


@dataclass(frozen=True)
class Factor(Commit):
    """Commit the n best positions while (n + 1)(1 - confidence of the n-th) < f; always the best one (Fast-dLLM,
    theorem 1)."""

    f: float

    def __post_init__(self) -> None:
        limits.number("f", self.f, 0)

    def __call__(self, c: Candidates) -> Tensor:
        order, rank = order_of(c.score, c.eligible)
        sorted_p = c.confidence.gather(-1, order)  # (B, L), best first
        n = torch.arange(1, order.shape[-1] + 1, device=order.device)
        passed = ((n + 1) * (1 - sorted_p) < self.f) & c.eligible.gather(-1, order)
        count = passed.int().cumprod(-1).sum(-1).clamp(min=1)  # a failure ends the prefix
        return (rank < count[:, None]) & c.eligible


@dataclass(frozen=True)
class EntropyBound(Commit):
    """Commit positions in order of rising entropy H while the sum of H over those already taken is at most `gamma`
    nats."""

    gamma: float

    def __post_init__(self) -> None:
        limits.number("gamma", self.gamma, 0)

    def __call__(self, c: Candidates) -> Tensor:
        entropy = -_negative_entropy(c.p, c.eligible.long(), None)  # (B, L); x0 is not looked at
        order, rank = order_of(torch.where(c.score == NEG_INF, NEG_INF, -entropy), c.eligible)  # put last stays last
        taken = entropy.gather(-1, order)
        passed = (taken.cumsum(-1) - taken <= self.gamma) & c.eligible.gather(-1, order)
        count = passed.int().cumprod(-1).sum(-1).clamp(min=1)
        return (rank < count[:, None]) & c.eligible
