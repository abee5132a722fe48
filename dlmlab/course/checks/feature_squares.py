"""Exercise 4.2. Small whole numbers, random ones of many shapes, and what is not finite."""

from collections.abc import Callable

import torch

from dlmlab.course.checks.expect import NOTHING, close, expect_tensor, require, seeded, show, untouched
from dlmlab.course.exercises import Exercise


def check_feature_squares(fn: Callable) -> None:
    """Judge an answer to 4.2."""
    x = torch.tensor([[[1.0, -2, 0], [3, 1, 1]], [[2, 2, 1], [0, 5, -1]]])  # (2, 2, 3)
    ones = torch.ones(2, 2)
    weight = torch.tensor([[1.0, 2.0], [0.5, 0.0]])

    def run(x, weight):
        with untouched(x=x, weight=weight):
            out = fn(x, weight)
        require(out is not None, NOTHING)
        require(
            out.shape != (x.shape[2],), "one row a state is wanted, (B, C): do not sum over the states of the batch"
        )
        require(
            out.shape != x.shape[:2] or x.shape[1] == x.shape[2],
            "sum over tokens, not over features: the statistic belongs to a column of the weights",
        )
        expect_tensor(out, (len(x), x.shape[2]), torch.float64)
        return out

    plain = run(x, ones)
    require(not close(plain, [[10**0.5, 5**0.5, 1], [2, 29**0.5, 2**0.5]]), "no root is taken here")
    require(
        close(plain, [[10, 5, 1], [4, 29, 2]]),
        f"with weights of 1 this is the sum of squares over tokens; got {show(plain.flatten())}",
    )
    weighted = run(x, weight)
    require(
        not close(weighted, [[19, 6, 2], [2, 2, 0.5]]),
        "the weight multiplies the token before squaring: weight^2 counts",
    )
    require(
        not close(weighted, [[37 / 5, 8 / 5, 4 / 5], [4, 4, 1]]),
        "a sum, not a weighted mean: do not divide by the weights",
    )
    require(
        close(weighted, [[37, 8, 4], [1, 1, 0.25]]),
        f"expected (weight x)^2 summed over tokens; got {show(weighted.flatten())}",
    )
    g = seeded(42)
    for B, L, C in ((1, 1, 1), (0, 3, 2), (2, 0, 3), (3, 5, 2), (5, 17, 9)):
        some, each = torch.randn(B, L, C, generator=g), 2 * torch.rand(B, L, generator=g)
        wanted = torch.zeros(B, C, dtype=torch.float64)
        for b in range(B):
            for token, w in zip(some[b].tolist(), each[b].tolist(), strict=True):
                wanted[b] += torch.tensor([(w * v) ** 2 for v in token], dtype=torch.float64)
        require(
            close(run(some, each), wanted, tol=1e-5),
            f"on random x of shape ({B}, {L}, {C}) with weights between 0 and 2 the sums are others",
        )
    x[1, 1] = float("inf")
    found = run(x, weight)
    require(
        close(found, [[37, 8, 4], [1, 1, 0.25]]),
        f"a token of weight 0 must not count whatever it holds, also inf (inf * 0 is nan); got {show(found.flatten())}",
    )
    x[0, 0, 2] = float("inf")
    found = run(x, weight)
    require(
        found[0, 2].isinf(),
        "a token that counts and holds inf must give inf: only weight 0 may be left out, not whatever is not finite",
    )
    others = torch.tensor([37, 8, 1, 1, 0.25])
    require(
        close(found.flatten()[[0, 1, 3, 4, 5]], others),
        f"one feature of one token is inf: the other sums stay {show(others)}; got {show(found.flatten())}",
    )
    x[0, 0, 2] = float("nan")
    found = fn(x, weight)
    require(
        bool(found[0, 2].isnan()),
        "a token that counts and holds nan must give nan: turned into a number, a broken model looks like a sound one",
    )
    require(
        close(found.flatten()[[0, 1, 3, 4, 5]], others),
        f"one feature of one token is nan: the other sums stay {show(others)}; got {show(found.flatten())}",
    )
    large = run(torch.full((1, 2, 1), 4097.0), torch.ones(1, 2))
    require(
        close(large, [[2 * 4097.0**2]], tol=1e-9),
        f"square in float64: 4097^2 does not fit into float32; got {show(large.flatten())}",
    )


EXERCISE = Exercise(
    id="4.2",
    title="Statistics with a weight for each token",
    minutes=10,
    difficulty=2,
    objective="Turn activations into the statistic of Wanda, with any weight for each token.",
    path="dlmlab.activations.feature_squares",
    stub='''\
def feature_squares(x: Tensor, weight: Tensor) -> Tensor:
    """Sum the squares of each feature over the tokens of a state, every token multiplied by its weight first.

        out[b, c] = sum over l of (weight[b, l] x[b, l, c])^2,  computed in float64

    Tokens of weight 0 are left out, whatever they hold (even inf: inf * 0 is nan).
    Shapes: x (B, L, C) float32, weight (B, L) -> (B, C) float64. No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "inf * 0 is nan, and no repair afterwards knows where it came from. When must a token of weight 0 leave?",
        "Before anything is multiplied: fill its features with 0 wherever the weight is 0. Then square, in float64.",
        "x.double().square().masked_fill((weight == 0)[..., None], 0.0), times weight squared, summed over dim 1.",
    ),
    check=check_feature_squares,
)
