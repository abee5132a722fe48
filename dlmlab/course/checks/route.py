"""Exercise 7.3. Biases that choose and must not weigh, groups whose best expert stands elsewhere, one expert."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import NOTHING, Cases, close, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_route(fn: Callable) -> None:
    """Judge an answer to 7.3."""

    def run(scores: Tensor, bias: Tensor, groups: int, best: int, k: int, scale: float) -> tuple[Tensor, Tensor]:
        with untouched(scores=scores, bias=bias):
            out = fn(scores, bias, groups=groups, best=best, k=k, scale=scale)
        require(out is not None, NOTHING)
        require(isinstance(out, tuple) and len(out) == 2, "return two tensors: the experts, and their weights")
        expect_tensor(out[0], (len(scores), k), torch.int64, "the experts")
        expect_tensor(out[1], (len(scores), k), torch.float32, "the weights")
        return out

    one = torch.tensor([[0.1, 0.9, 0.6, 0.5]])
    experts, weights = run(one, torch.zeros(4), 2, 1, 2, 1.0)
    require(experts.tolist() != [[1, 2]], "first the groups: only experts of the best groups may be chosen")
    require(
        sorted(experts[0].tolist()) != [0, 1],
        "a group counts the sum of its two largest scores, not its largest: .6 + .5 is more than .9 + .1",
    )
    require(experts.tolist() == [[2, 3]], f"experts 2 and 3, the larger score first; got {experts.tolist()}")
    require(
        close(weights, [[6 / 11, 5 / 11]], 1e-5),
        f"weights sum to `scale`, in the ratio of the scores; got {weights.tolist()}",
    )
    push = torch.tensor([0.0, 0.0, 0.0, 0.5])
    experts, weights = run(one, push, 1, 1, 2, 2.5)
    require(experts.tolist() == [[3, 1]], f"the bias takes part in choosing: experts 3 and 1; got {experts.tolist()}")
    ratio = float(weights[0, 0] / weights[0, 1])
    require(not close(ratio, 1.0 / 0.9, 1e-4), "the bias must not weigh: weights come from the scores without it")
    require(close(ratio, 0.5 / 0.9, 1e-4), f"weights are in the ratio of the scores, .5 to .9; got {ratio:.2f}")
    require(
        close(weights.sum(), 2.5, 1e-5), f"the weights of a token sum to `scale`, 2.5; got {float(weights.sum()):.2f}"
    )
    experts, weights = run(one, torch.zeros(4), 2, 2, 1, 2.0)
    require(close(weights, [[1.8]], 1e-5), "with one expert its weight is scale times its score: not divided by itself")
    require(experts.tolist() == [[1]], f"one expert of all: the largest score, expert 1; got {experts.tolist()}")
    experts, weights = run(torch.full((1, 4), 0.5), torch.zeros(4), 2, 1, 2, 1.0)
    require(experts.tolist() == [[0, 1]], "of equal groups and experts the first goes first")
    require(close(weights, [[0.5, 0.5]], 1e-5), "equal scores weigh the same")
    experts, weights = run(one, torch.full((4,), -2.0), 2, 1, 2, 1.0)
    require(
        experts.tolist() == [[2, 3]],
        "closed experts must lose to any open one, also where biased scores are negative: -inf, not 0",
    )
    require(close(weights, [[6 / 11, 5 / 11]], 1e-5), "a bias that is the same for all changes no weight")
    draw = Cases(0)
    for T, groups, size in ((1, 1, 2), (7, 2, 2), (5, 4, 3), (9, 8, 4), (3, 2, 16)):
        best = draw.int(1, groups)
        k, scale = draw.int(1, best * size), float(draw.uniform(1, low=0.5, high=3.0))
        scores, bias = draw.uniform(T, groups * size), draw.normal(groups * size)
        experts, weights = run(scores, bias, groups, best, k, scale)
        case = f"{T} tokens, {groups} groups of {size}, {best} open, {k} chosen"
        for t in range(T):
            wanted, w = _by_hand(scores[t].tolist(), bias.tolist(), groups, best, k, scale)
            require(
                experts[t].tolist() == wanted, f"random inputs, {case}: experts {wanted}, got {experts[t].tolist()}"
            )
            require(
                close(weights[t], w, 1e-4), f"random inputs, {case}: other weights than scale * s / sum of chosen s"
            )


def _by_hand(s: list[float], bias: list[float], groups: int, best: int, k: int, scale: float):
    size, biased = len(s) // groups, [a + b for a, b in zip(s, bias, strict=True)]
    strength = [sum(sorted(biased[g * size : (g + 1) * size])[-2:]) for g in range(groups)]
    open = sorted(range(groups), key=lambda g: -strength[g])[:best]
    chosen = sorted((e for e in range(len(s)) if e // size in open), key=lambda e: -biased[e])[:k]
    total = sum(s[e] for e in chosen) if k > 1 else 1.0
    return chosen, [scale * s[e] / total for e in chosen]


EXERCISE = Exercise(
    id="7.3",
    title="Route tokens to experts",
    minutes=20,
    difficulty=3,
    objective="Choose experts inside the best groups, with biases that choose and do not weigh.",
    path="dlmlab.moe.route",
    stub='''\
def route(scores: Tensor, bias: Tensor, *, groups: int, best: int, k: int, scale: float) -> tuple[Tensor, Tensor]:
    """Choose k experts for every token and weigh them.

    Experts stand in `groups` of equal size, one after the other. With s' = scores + bias, a group counts the sum of its
    two largest s'; the `best` groups stay open; the k largest s' there are chosen, largest first, of equal ones the
    lower expert. Their weights are scale * scores / (sum of the chosen scores), without the bias; with k = 1 scale *
    score. Shapes: scores (T, E), bias (E,) -> experts (T, k) int64, weights (T, k) float32. No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Three steps in a row: groups, experts inside them, weights. Which of the three must not see the bias?",
        "Unflatten the biased scores into groups, sum the two largest of each, keep the best groups; close all other "
        "experts; sort; gather the scores (not the biased ones) of the chosen and divide by their sum.",
        "biased.masked_fill(~open, -inf).sort(descending=True, stable=True).indices[:, :k]; scores.gather(1, chosen).",
    ),
    check=check_route,
)
