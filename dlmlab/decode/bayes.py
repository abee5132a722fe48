"""The exact-Bayes denoiser of a known distribution: a model without training that tests objectives and samplers.

Decisions
* The distribution is a list of texts with probabilities. Given a noised text, the denoiser weighs every text by how
  well it explains the noise, and averages: nothing is learned, nothing is approximated.
* Its logits are log p(x_i | all tokens but z_i), the leave-one-out posterior (`dlmlab.priors` says why). At masked
  positions that is the plain posterior, so the same object serves every sampler of `dlmlab.sampling`.
* A context that no text agrees with (parallel decoding can write one) gets the posterior over the texts that disagree
  in the fewest places: the limit of a vanishing rate of random substitutions.
* What a sampler does with a denoiser is enumerated: every draw, every random order, every state that can be reached.
  Its distance to the true distribution is then a number without sampling error.

Sources: Bayes' rule; Zheng et al., arXiv 2409.02908, and Wu et al., arXiv 2505.22618, on why parallel decoding errs.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.decode.commit import NEG_INF, SCORES, Candidates
from dlmlab.decode.sampling import Denoiser, Sampler
from dlmlab.objective.priors import interpolating_nelbo

IMPOSSIBLE = -1e3  # log-evidence of a token that a text cannot explain: exp of it is 0, but a sum of it counts them


class ExactBayes:
    """A denoiser (ids (B, L), mask) -> float64 logits (B, L, V) that knows the distribution of clean texts.

    `texts` (N, L) ids, all different; `prior` (V,), from `dlmlab.priors`; `probabilities` (N,), by default equal.
    `alpha` (B,) in the call, the keep probability of the noised rows, matters for any prior but the pure mask.
    """

    def __init__(self, texts: Tensor, prior: Tensor, probabilities: Tensor | None = None):
        N = len(texts)
        if len({tuple(t) for t in texts.tolist()}) < N or N == 0:
            raise ValueError(f"need one text or more, all different, got {N}")
        p = torch.full((N,), 1 / N, dtype=torch.float64) if probabilities is None else probabilities.double()
        if p.shape != (N,) or not bool((p > 0).all()) or abs(float(p.sum()) - 1) > 1e-9:
            raise ValueError(f"probabilities must be ({N},), above 0, with sum 1; got shape {tuple(p.shape)}")
        self.texts, self.prior, self.probabilities = texts, prior.double(), p
        self.time_free = int((prior > 0).sum()) == 1  # one place to fall: alpha cancels

    def evidence(self, ids: Tensor, alpha: Tensor | None) -> Tensor:
        """Give log q_t(z_i | x^n_i) for every row, text and position, (B, N, L)."""
        if alpha is None and not self.time_free:
            raise ValueError("under this prior the posterior depends on the time: pass alpha (B,)")
        a = torch.full((len(ids), 1, 1), 0.5).double() if alpha is None else alpha.double()[:, None, None]
        same = self.texts[None] == ids[:, None]  # (B, N, L)
        return (a * same + (1 - a) * self.prior[ids][:, None]).log().clamp(min=IMPOSSIBLE)

    def __call__(self, ids: Tensor, valid: Tensor | None = None, *, alpha: Tensor | None = None) -> Tensor:
        own = self.evidence(ids, alpha)
        others = own.sum(-1, keepdim=True) - own  # (B, N, L): all positions but i
        return self._average(others)

    def posterior(self, ids: Tensor, *, alpha: Tensor | None = None) -> Tensor:
        """Give log p(x_i | z) with z_i itself counted, (B, L, V): what plain cross-entropy at all positions learns."""
        own = self.evidence(ids, alpha)
        return self._average(own.sum(-1, keepdim=True).expand_as(own))

    def _average(self, evidence: Tensor) -> Tensor:
        w = (evidence + self.probabilities.log()[:, None]).softmax(1)  # (B, N, L)
        return torch.einsum("bnl,nlv->blv", w, F.one_hot(self.texts, len(self.prior)).double()).log()


def exact_nelbo(denoise, x0: Tensor, prior: Tensor, *, nodes: int = 120) -> Tensor:
    """Integrate the bound on -log p(x0) over all times and all noised texts, in nats per row, (B,).

    The schedule is alpha = 1 - t; t = u^3 tames the integrand near 0, `nodes` Gauss-Legendre nodes in u do the rest.
    `denoise(ids (R, L), alpha=(R,))` -> logits (R, L, V). Shapes: x0 (B, L), prior (V,). Costs nodes V^L forwards, so
    V^L must be small. Source: this course; golden values in tests.
    """
    V, (B, L) = len(prior), x0.shape
    every = torch.cartesian_prod(*[torch.arange(V)] * L).view(-1, L)  # (R, L), R = V^L
    z, x = every.repeat(B, 1), x0.repeat_interleave(len(every), 0)  # (B R, L)
    total = torch.zeros(B, dtype=torch.float64)
    for node, share in zip(*np.polynomial.legendre.leggauss(nodes), strict=True):
        u = (node + 1) / 2  # from [-1, 1] to [0, 1]
        alpha = torch.full((len(z),), 1 - u**3, dtype=torch.float64)
        logits = denoise(every, alpha=alpha[: len(every)]).repeat(B, 1, 1)
        at_t = interpolating_nelbo(logits, x, z, alpha=alpha, dalpha=-torch.ones_like(alpha), prior=prior).sum(-1)
        chance = (alpha[:, None] * (z == x) + (1 - alpha[:, None]) * prior[z]).prod(-1)  # q_t(z | x)
        mean = torch.where(chance > 0, chance * at_t, 0.0).view(B, -1).sum(1)  # where it is 0 the bound may be inf
        total += 3 * u**2 * share / 2 * mean
    return total


def output_distribution(
    denoise: Denoiser, start: Sequence[int], *, sampler: Sampler, mask_id: int, tail: Sampler | None = None
) -> dict[tuple[int, ...], float]:
    """Enumerate what a sampler of `dlmlab.sampling` writes from `start` (L,), as {text: probability}.

    Temperature 0 or 1 or a proposal, one block, no guidance, all tokens alike. Random order is averaged over what it
    may choose, and needs planned steps, as those of `Fixed`. `tail`: the sampler of the last step, by default the same
    one; its plan is not asked. Raises `ValueError` for what cannot be enumerated.
    """
    _check_enumerable(sampler)
    masks = sum(token == mask_id for token in start)
    plan = sampler.commit.plan(torch.tensor([masks]))
    states, quotas = {tuple(start): 1.0}, [1] * masks if plan is None else plan[0].tolist()
    for step, quota in enumerate(quotas, 1):
        how = tail if tail and step == len(quotas) else sampler
        after: dict[tuple[int, ...], float] = defaultdict(float)
        for state, mass in states.items():
            for text, p in _one_step(denoise, state, quota, how, mask_id) if mask_id in state else [(state, 1.0)]:
                after[text] += mass * p
        states = dict(after)
    return states


def _check_enumerable(sampler: Sampler) -> None:
    special = sampler.guidance or sampler.block_length or sampler.eos_last or sampler.stop_at_eos or sampler.forbid
    special = special or sampler.cache or sampler.edit
    if sampler.temperature not in (0, 1) or special:
        raise ValueError(f"only temperature 0 or 1, one block, all tokens alike can be enumerated, got {sampler}")
    if sampler.score == "random" and sampler.commit.plan(torch.tensor([1])) is None:
        raise ValueError(f"random order can be enumerated with planned steps only, such as Fixed, got {sampler.commit}")


def _one_step(
    denoise: Denoiser, state: tuple[int, ...], quota: int, sampler: Sampler, mask_id: int
) -> Iterator[tuple[tuple[int, ...], float]]:
    """Yield the states after one forward with their probabilities."""
    x = torch.tensor([state])
    free = x == mask_id  # (1, L)
    logits = denoise(x, None).double().index_fill(-1, torch.tensor([mask_id]), NEG_INF)
    p = logits.softmax(-1)
    drawn_from = p if sampler.proposal is None else sampler.proposal(logits)
    draws, weight = _draws(drawn_from[0], free[0], sampler.temperature if sampler.proposal is None else 1)  # (R, L)
    p = p.expand(len(draws), -1, -1)
    for order, share in _orders(free[0], sampler.score, quota):
        score = SCORES[sampler.score](p, draws, None) if order is None else order.expand(draws.shape)
        confidence = p.gather(-1, draws[..., None])[..., 0]
        due = torch.full((len(draws),), quota)
        take = sampler.commit(Candidates(score, free.expand(draws.shape), confidence, p, due))
        for text, w in zip(torch.where(take, draws, x).tolist(), weight.tolist(), strict=True):
            yield tuple(text), share * w


def _draws(p: Tensor, free: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """List every joint draw of all positions, each from its own distribution, (R, L), with its probability, (R,)."""
    best = p.argmax(-1)
    if temperature == 0:
        return best[None], torch.ones(1, dtype=torch.float64)
    choices = [p[i].nonzero()[:, 0] if free[i] else best[i : i + 1] for i in range(len(p))]
    draws = torch.cartesian_prod(*choices).view(-1, len(p))
    each = p.gather(-1, draws.T).T  # (R, L)
    return draws, torch.where(free, each, 1.0).prod(-1)


def _orders(free: Tensor, score: str, quota: int) -> Iterator[tuple[Tensor | None, float]]:
    """Yield what a random order may put first: every set of `quota` places as scores (L,), with its probability.

    For a score that is not random there is one order, None.
    """
    if score != "random":
        yield None, 1.0
        return
    places = free.nonzero()[:, 0].tolist()
    sets = list(itertools.combinations(places, quota))
    for chosen in sets:
        yield torch.zeros(len(free)).index_fill(0, torch.tensor(chosen, dtype=torch.long), 1.0), 1 / len(sets)


def total_variation(a: dict[tuple, float], b: dict[tuple, float]) -> float:
    """Half the summed difference of two distributions: the largest difference in the probability of any event.

    >>> total_variation({(0,): 0.5, (1,): 0.5}, {(0,): 1.0})
    0.5
    """
    return sum(abs(a.get(k, 0.0) - b.get(k, 0.0)) for k in {*a, *b}) / 2
