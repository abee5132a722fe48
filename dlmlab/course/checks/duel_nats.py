"""Exercise 12.1. Models whose guesses depend on what is revealed, and that count how often they are asked."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_duel_nats(fn: Callable) -> None:
    """Judge an answer to 12.1."""
    draw = Cases(121)
    for B, L, V, share in ((3, 4, 5, 1.0), (2, 6, 4, 0.5), (1, 3, 3, 1.0), (4, 5, 6, 0.8), (2, 7, 5, 0.3)):
        mask_id = draw.int(0, V - 1)
        x0 = (mask_id + 1 + draw.ids(V - 1, B, L)) % V  # no mask
        n = max(1, round(share * L))
        maskable = torch.stack([torch.zeros(L, dtype=torch.bool).index_fill(0, draw.order(L, n), True) for _ in x0])
        weights = draw.normal(L, L, V)
        for rule in (_surest, _from_the_right):
            _judge(fn, x0, maskable, mask_id, weights, rule)


def _surest(p: Tensor) -> Tensor:
    return p.amax(-1)


def _from_the_right(p: Tensor) -> Tensor:
    return torch.arange(p.shape[1], dtype=p.dtype).expand(p.shape[:2])


class _Denoiser:
    """Logits from the whole context, with much for the mask, which is never written."""

    def __init__(self, weights: Tensor, mask_id: int):
        self.weights, self.mask_id, self.shown = weights, mask_id, []

    def __call__(self, ids: Tensor) -> Tensor:
        require(isinstance(ids, Tensor) and ids.dim() == 2, "denoise takes rows of ids, (B, L)")
        self.shown.append(ids.clone())
        seen = torch.sin(1.7 * ids[:, None] + torch.arange(ids.shape[1])[:, None] * 2.3)  # (B, L, L)
        logits = torch.einsum("bij,ijv->biv", seen, self.weights)
        return logits + 2.0 * (torch.arange(self.weights.shape[-1]) == self.mask_id)


def _judge(fn: Callable, x0: Tensor, maskable: Tensor, mask_id: int, weights: Tensor, rule: Callable) -> None:
    denoise, n = _Denoiser(weights, mask_id), int(maskable[0].sum())

    def strict(p: Tensor) -> Tensor:
        require(p.shape == (*x0.shape, weights.shape[-1]), f"rule takes distributions (B, L, V), got {tuple(p.shape)}")
        require(
            bool((p >= 0).all()) and bool(((p.sum(-1) - 1).abs() < 1e-4).all()),
            "rule takes probabilities that sum to 1, not logits or logarithms",
        )
        require(float(p[..., mask_id].max()) < 1e-6, "the mask has a share of the probability: it is never written")
        return rule(p)

    with untouched(x0=x0, maskable=maskable):
        got = fn(denoise, x0, maskable, mask_id, rule=strict)
    expect_tensor(got, (len(x0),), torch.float64)
    right = _score(weights, x0, maskable, mask_id, rule)
    require(not torch.allclose(got, -right, atol=1e-4), "that is log p: the score is -log p, in nats, and not below 0")
    for message, wrong in _mistakes(weights, x0, maskable, mask_id, rule).items():
        if not torch.allclose(wrong, right, atol=1e-4):
            require(not torch.allclose(got, wrong, atol=1e-4), message)
    require(
        len(denoise.shown) == n,
        f"{n} tokens to score take {n} forwards, one for each that is revealed; there were {len(denoise.shown)}",
    )
    expect_same(got, right, f"{len(x0)} texts of {x0.shape[1]} tokens, {n} to score", tol=1e-4)


def _score(weights: Tensor, x0: Tensor, maskable: Tensor, mask_id: int, rule: Callable | None, how: str = "") -> Tensor:
    """Score text by text; `how` names a mistake."""
    found = []
    for x, places in zip(x0, maskable, strict=True):
        z, left, total, first = torch.where(places, mask_id, x), places.nonzero()[:, 0].tolist(), 0.0, None
        if how == "all":
            z, left = torch.full_like(x, mask_id), list(range(len(x)))
        while left:
            logits = _Denoiser(weights, mask_id)(z[None])[0].double()
            logits[:, mask_id] = -torch.inf
            p = logits.softmax(-1)
            first = p if first is None else first
            score = p.gather(-1, x[:, None])[:, 0] if how == "peeks" else rule(p[None])[0]
            at = (min if how == "lowest" else max)(left, key=lambda i, s=score: float(s[i]))
            total -= float((first if how == "once" else p)[at, x[at]].log())
            z[at] = int(p[at].argmax()) if how == "favourite" else x[at]
            left.remove(at)
        found.append(total)
    return torch.tensor(found, dtype=torch.float64)


def _mistakes(weights: Tensor, x0: Tensor, maskable: Tensor, mask_id: int, rule: Callable) -> dict[str, Tensor]:
    arguments = (weights, x0, maskable, mask_id, rule)
    found = {
        "the place is chosen by the probability of the true token: a rule that knows what is to be scored defines no "
        "distribution, its probabilities do not sum to 1": _score(*arguments, how="peeks"),
        "the model's favourite is revealed, not the token of the text: that scores another text": _score(
            *arguments, how="favourite"
        ),
        "all tokens are scored by the first forward, with nothing revealed: a token that is known now must be seen by "
        "the next forward": _score(*arguments, how="once"),
        "the place with the lowest score is taken: the highest is next": _score(*arguments, how="lowest"),
        "places that are given are masked too: only maskable ones are scored": _score(*arguments, how="all"),
    }
    if int(maskable[0].sum()) <= 4:
        message = "all orders are averaged: the rule makes one order, and the score needs that one alone"
        found[message] = _over_orders(weights, x0, maskable, mask_id)
    return found


def _over_orders(weights: Tensor, x0: Tensor, maskable: Tensor, mask_id: int) -> Tensor:
    """Average the nats of every order, text by text."""
    totals = []
    for x, places in zip(x0, maskable, strict=True):
        values = []
        for order in _orders(places.nonzero()[:, 0].tolist()):
            rank = torch.tensor([-order.index(i) if i in order else -99 for i in range(len(x))])

            def fixed(p: Tensor, rank: Tensor = rank) -> Tensor:
                return rank[None]

            values.append(_score(weights, x[None], places[None], mask_id, fixed))
        totals.append(torch.cat(values).mean())
    return torch.stack(totals)


def _orders(items: list[int]) -> list[list[int]]:
    """List all orders of a few items."""
    if not items:
        return [[]]
    return [[first, *rest] for first in items for rest in _orders([i for i in items if i != first])]


EXERCISE = Exercise(
    id="12.1",
    title="The score of a duel",
    minutes=20,
    difficulty=3,
    objective="Compute the exact likelihood of a text under a masked model and the rule that it is decoded with.",
    path="dlmlab.duel.duel_nats",
    stub='''\
def duel_nats(denoise: Callable, x0: Tensor, maskable: Tensor, mask_id: int, *, rule: Callable) -> Tensor:
    """Compute -log p(maskable tokens | the others) under the order that `rule` makes, in nats, (B,) float64.

    denoise maps ids (B, L) to logits (B, L, V); one forward for each maskable token. rule maps distributions (B, L, V)
    to scores (B, L); the masked place with the highest one is next, of equal ones the leftmost. The mask has no
    probability.
    Shapes: x0 (B, L), maskable (B, L) bool, as many True in every row. Nothing is changed, no gradient.
    """
    raise NotImplementedError
''',
    hints=(
        "Take a text of three masks and decode it by hand with the rule, but write down the true tokens. What was the "
        "probability of what you wrote, step by step?",
        "Keep a mask of what is still hidden. In every round: one forward, the distributions, the place of the highest "
        "score among the hidden ones, minus the logarithm of the true token's probability there; then that place is "
        "hidden no more.",
        "p = logits.index_fill(-1, mask, -inf).softmax(-1); at = rule(p).masked_fill(~masked, -inf).argmax(-1); total "
        "-= p[rows, at, x0[rows, at]].log(); masked[rows, at] = False",
    ),
    check=check_duel_nats,
)
