"""Lab 14: two tokens that are always equal, and what a student that guesses them apart can do; nothing is drawn.

The text is 00 with probability w, else 11. With both places masked a student of one forward has two numbers, the
probability of a 0 at either place, and writes their product. So every claim about it is a calculation: the distance to
the truth for every such pair of numbers, the optimum of every loss, and where training ends.

With c the probability of a 0 at one place and z its logit, a 0 true with probability w:

    cross-entropy               dL/dz = c - w
    entropy of what is right    dL/dz = -weight right z c (1 - c),   right = w if c > 1/2, else 1 - w

At w = 1/2 the sum has its zero at z = 0, which holds the student there for a weight up to 2 and drives it away above.
"""

import math

import torch
from torch import Tensor

from dlmlab.decode import bayes
from dlmlab.decode.commit import Fixed
from dlmlab.decode.sampling import Sampler
from dlmlab.objective.distill import pooled
from dlmlab.objective.priors import mask_prior

BLANK = 2


def pair(w: float) -> bayes.ExactBayes:
    """Make the perfect model of the pair."""
    return bayes.ExactBayes(torch.tensor([[0, 0], [1, 1]]), mask_prior(3, BLANK), _two(w))


def _two(w: float) -> Tensor:
    return torch.tensor([w, 1 - w], dtype=torch.float64)


def truth(w: float) -> Tensor:
    """Give the probability of every text, (2, 2) float64: first token, second token."""
    return torch.tensor([[w, 0], [0, 1 - w]], dtype=torch.float64)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Give what a student writes in one forward, (..., 2, 2); a and b (...): its probability of a 0 at either place."""
    first, second = torch.stack([a, 1 - a], -1), torch.stack([b, 1 - b], -1)
    return first[..., :, None] * second[..., None, :]


def distance(q: Tensor, w: float) -> Tensor:
    """Give the total variation of q (..., 2, 2) to the truth, (...)."""
    return (q - truth(w)).abs().sum((-2, -1)) / 2


def entropy(q: Tensor) -> Tensor:
    """Give the entropy of q (..., 2, 2) in nats, (...)."""
    return torch.special.entr(q).sum((-2, -1))


def written(w: float, forwards: int) -> Tensor:
    """Give what the perfect model itself writes in one forward or two, at temperature 1, in random order, (2, 2)."""
    sampler = Sampler("random", Fixed(forwards), temperature=1.0)
    out = bayes.output_distribution(pair(w), [BLANK] * 2, sampler=sampler, mask_id=BLANK)
    return torch.tensor([[out.get((i, j), 0.0) for j in range(2)] for i in range(2)], dtype=torch.float64)


def all_distances(w: float, points: int = 201) -> tuple[Tensor, Tensor]:
    """Give a grid from 0 to 1, (points,), and the distance of every product on it, (points, points)."""
    grid = torch.linspace(0, 1, points, dtype=torch.float64)
    return grid, distance(product(grid[:, None].expand(-1, points), grid[None].expand(points, -1)), w)


def best_distance(w: float) -> float:
    """Give the least distance that a product can have, 2 (s - s^2) with s = sqrt(max(w, 1 - w)), reached at (s, s)."""
    s = math.sqrt(max(w, 1 - w))
    return 2 * (s - s * s)


def trained(w: float, weight: Tensor, *, steps: int = 2000, seed: int = 0, rate: float = 1.0) -> Tensor:
    """Train students by gradient descent on the expected loss, from one random start; a and b after every step.

    `weight` (...): for each student that of the entropy where the surest token is the right one (`dlmlab.confidence`),
    0 for plain cross-entropy. Shapes: -> (steps + 1, ..., 2).
    """
    z = torch.randn(2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z, weight = z.expand(*weight.shape, 2), weight.double()[..., None]
    found = [z.sigmoid()]
    for _ in range(steps):
        c = z.sigmoid()
        right = torch.where(c > 0.5, w, 1 - w)
        z = z - rate * ((c - w) - weight * right * z * c * (1 - c))
        found.append(z.sigmoid())
    return torch.stack(found)


def distilled(w: float, *, slip: float = 0.01, reverse: bool = True) -> Tensor:
    """Give where distillation through time ends: what a student says at either place with the least mean divergence.

    The teacher is right but for a share `slip`: a token beside a known one is the other one so often. Each place comes
    first in half of the cases, and is then guessed with nothing known; else the first token, drawn by the teacher, is.
    Shapes: -> probabilities (2,).
    """
    targets = torch.stack([_two(w), _two(1 - slip), _two(slip)])
    return pooled(targets, torch.cat([torch.ones(1).double(), _two(w)]) / 2, reverse=reverse)
