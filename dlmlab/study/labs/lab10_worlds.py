"""Lab 10: how often K texts cover the truth, when every place is drawn from a proposal; enumerated, nothing is drawn.

The world is that of notebook 02: equations `a + b = c` and `a - b = c` with numbers 0 to 5, some likelier than others.
Given a perfect model and one token per forward, a text's probability is a product of five entries of five proposals, so
Q is known for every text, and with it the coverage of K texts: sum_x P(x) (1 - (1 - Q(x))^K).

The weights of the world are one choice of many: `drawn_worlds` makes others with the same equations.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dlmlab.decode import bayes, coverage
from dlmlab.decode.commit import Fixed
from dlmlab.decode.proposal import Proposal
from dlmlab.decode.sampling import Sampler
from dlmlab.objective.priors import mask_prior

N = 6  # numbers 0 to 5
PLUS, MINUS, EQUAL, BLANK = range(N, N + 4)
V = N + 4
SIGNS = (*map(str, range(N)), "+", "-", "=", "▢")
Rule = Callable[[Tensor], Tensor]  # conditional distributions (..., V) -> proposals (..., V)


def equations() -> Tensor:
    """List the right equations as ids, (42, 5)."""
    sums = [(a, PLUS, b, EQUAL, a + b) for a in range(N) for b in range(N) if a + b < N]
    return torch.tensor(sums + [(a, MINUS, b, EQUAL, a - b) for a in range(N) for b in range(a + 1)])


def world() -> bayes.ExactBayes:
    """Make the world of notebook 02 as a perfect model."""
    texts = equations()
    weight = torch.tensor([1 + a + 0.5 * b + 0.1 * op for a, op, b, _, _ in texts.tolist()], dtype=torch.float64)
    return of(weight)


def of(weight: Tensor) -> bayes.ExactBayes:
    """Make the perfect model of the equations with these weights, (42,)."""
    return bayes.ExactBayes(equations(), mask_prior(V, BLANK), weight.double() / weight.double().sum())


def drawn_worlds(count: int, spread: float, seed: int) -> list[bayes.ExactBayes]:
    """Draw worlds whose weights are exp(spread * normal): 0 is uniform, 2 has a few likely equations and many rare."""
    g = torch.Generator().manual_seed(seed)
    return [of((spread * torch.randn(42, generator=g, dtype=torch.float64)).exp()) for _ in range(count)]


def conditionals(model: bayes.ExactBayes, order: Sequence[int] = range(5)) -> Tensor:
    """Give p(token at place | what the text has at the places before), for every place of `order` and every text.

    Shapes: -> (5, 42, V), in the order of `order`.
    """
    x, found = torch.full_like(model.texts, BLANK), []
    for place in order:
        found.append(model(x).softmax(-1)[:, place])
        x[:, place] = model.texts[:, place]
    return torch.stack(found)


def written(p: Tensor, texts: Tensor, rule: Rule, order: Sequence[int] = range(5)) -> Tensor:
    """Give the probability of every text when each place is drawn from rule(p), (..., 42); p (..., 5, 42, V)."""
    own = texts[:, list(order)].T[..., None]  # (5, 42, 1)
    return rule(p).gather(-1, own.expand(*p.shape[:-1], 1))[..., 0].prod(-2)


def any_order(model: bayes.ExactBayes, rule: Rule) -> Tensor:
    """Give the probability of every text when the places come in random order, (42,): the sum over all orders, by way
    of the sets of places that are written."""
    texts, L = model.texts, model.texts.shape[1]
    mass = {(): torch.ones(len(texts), dtype=torch.float64)}
    for size in range(L):
        for seen in itertools.combinations(range(L), size):
            x = torch.full_like(texts, BLANK)
            x[:, seen] = texts[:, seen]
            q = rule(model(x).softmax(-1)).gather(-1, texts[..., None])[..., 0]  # (42, 5)
            for place in set(range(L)) - set(seen):
                after = tuple(sorted((*seen, place)))
                mass[after] = mass.get(after, 0.0) + mass[seen] * q[:, place] / (L - size)
    return mass[tuple(range(L))]


def enumerated(model: bayes.ExactBayes, proposal: Proposal, *, score: str, forwards: int) -> Tensor:
    """Give the probability of every text under the sampler itself, for any order and several tokens a forward, (42,).

    What is missing to 1 are texts that are no right equation.
    """
    sampler = Sampler(score, Fixed(forwards), proposal=proposal)
    out = bayes.output_distribution(model, [BLANK] * 5, sampler=sampler, mask_id=BLANK)
    return torch.tensor([out.get(tuple(text), 0.0) for text in model.texts.tolist()], dtype=torch.float64)


def best_possible(model: bayes.ExactBayes, K: int) -> float:
    """Give the coverage of the best distribution over whole texts: no rule for single places can have more."""
    P = model.probabilities
    return float(coverage.coverage(coverage.water_filling(P, K), P, K))
