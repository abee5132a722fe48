"""Exercise 10.2. Distributions with zeros, ties, in any order; budgets of one, two and many draws."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, close, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_water_filling(fn: Callable) -> None:
    """Judge an answer to 10.2."""

    def run(p: Tensor, K: int) -> Tensor:
        with untouched(p=p):
            q = fn(p, K)
        expect_tensor(q, tuple(p.shape), p.dtype)
        require(not bool(q.isnan().any()), f"K = {K}: a share is NaN: look at tokens of probability 0, and at K = 1")
        return q

    p = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    q = run(p, 2)
    for message, wrong in {
        "this is p itself: a second draw of the most probable token hits nothing new": p,
        "p^2 sharpens, which is no answer to a second draw": p**2 / (p**2).sum(),
        "the flattened p gives a share to every token; at this level the last ones get none": p**0.5 / (p**0.5).sum(),
        "everything on the best token is right for one draw only": [1, 0, 0, 0],
        "all tokens alike: that is the limit of many draws": [0.25] * 4,
    }.items():
        require(not close(q, wrong, 1e-4), message)
    _expect_distribution(q, 2)
    require(
        close(q, [0.625, 0.375, 0, 0], 1e-5), "p = .5, .3, .15, .05 and K = 2 give .625, .375, 0, 0: worked by hand"
    )
    q = run(p, 3)
    _expect_distribution(q, 3)
    require(
        close(q, [0.514178, 0.372807, 0.113015, 0], 1e-5),
        "for K = 3 the shares are .514, .373, .113, 0: the exponent is 1 / (K - 1), which for K = 2 cannot be seen",
    )
    q = run(torch.tensor([0.15, 0.5, 0.05, 0.3], dtype=torch.float64), 2)
    _expect_distribution(q, 2)
    require(close(q, [0, 0.625, 0, 0.375], 1e-5), "p is not sorted: each share belongs to its own token")
    q = run(torch.tensor([0.2, 0.4, 0.4], dtype=torch.float64), 1)
    require(close(q, [0, 1, 0]), "one draw: all on the most probable token, of equals on the first")
    q = run(torch.tensor([0.6, 0.0, 0.4, 0.0], dtype=torch.float64), 50)
    _expect_distribution(q, 50)
    require(bool((q[1::2] == 0).all()), "a token of probability 0 gets a share")
    draw = Cases(102)
    for shape in ((1,), (2,), (1, 1), (1, 6), (4, 3), (3, 25)):
        for K in (1, 2, 3, 8, 40) if shape[-1] > 1 else (1, 2):
            p = (1.5 * draw.normal(*shape, dtype=torch.float64)).softmax(-1)
            q = run(p, K)
            _expect_distribution(q, K)
            expect_same(q, _by_bisection(p, K), f"shape {shape}, K = {K}", tol=1e-5)


def _expect_distribution(q: Tensor, K: int) -> None:
    require(bool((q >= 0).all()), f"K = {K}: a share below 0")
    sums = q.sum(-1)
    require(
        close(sums, torch.ones_like(sums), 1e-5),
        f"K = {K}: a row sums to {float(sums.flatten()[0]):.3f}, not to 1: the level belongs to the tokens that "
        "get a share, row by row",
    )


def _by_bisection(p: Tensor, K: int) -> Tensor:
    if K == 1:
        return torch.zeros_like(p).scatter(-1, p.argmax(-1, keepdim=True), 1.0)
    part = p ** (1 / (K - 1))
    low, high = torch.zeros_like(p[..., :1]), part.amax(-1, keepdim=True)
    for _ in range(60):
        level = (low + high) / 2
        more = (1 - level / part).clamp(min=0).sum(-1, keepdim=True) > 1
        low, high = torch.where(more, level, low), torch.where(more, high, level)
    return (1 - high / part).clamp(min=0)


EXERCISE = Exercise(
    id="10.2",
    title="Fill with water",
    minutes=20,
    difficulty=3,
    objective="Spread a budget of independent draws so that they hit as often as they can.",
    path="dlmlab.coverage.water_filling",
    stub='''\
def water_filling(p: Tensor, K: int) -> Tensor:
    """Give the q from which K independent draws most often hit a draw from p: max(0, 1 - (c / p_v)^(1 / (K - 1))).

    c is the level at which the shares sum to 1. For K = 1 all goes to the most probable token, of equals to the first.
    Shapes: p (..., V), sums of 1, zeros allowed -> q (..., V) of the same type. `p` is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Two lines or twenty: the shares fall as the level rises. A level that is too low makes their sum too large.",
        "Bisect the level between nothing and the largest probability. Or ask, as for sparsemax: if the best few "
        "tokens share, what is the level, and does the last of them still get something?",
        "r = p ** (-1 / (K - 1)), sorted; u = arange(V) / r.cumsum(-1); n = (u * r < 1).sum(-1); q = 1 - u[n - 1] * r, "
        "nothing below 0",
    ),
    check=check_water_filling,
)
