"""Exercise 11.1. Rows of unlike noise, distances far apart and tied, the two ends of the temperature; then random."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, expect_values, require, untouched
from dlmlab.course.exercises import Exercise


def check_text_weights(fn: Callable) -> None:
    """Judge an answer to 11.1."""

    def run(distance: list[list[int]], beta: list[float]) -> Tensor:
        d, b = torch.tensor(distance, dtype=torch.int16), torch.tensor(beta, dtype=torch.float64)
        with untouched(distance=d, beta=b):
            w = fn(d, b)
        expect_tensor(w, d.shape, torch.float64)
        return w

    d, b = [[3, 1, 2, 2], [0, 5, 1, 3], [2, 0, 1, 0]], [0.5, 2.0, 1.0]
    w, D, B = run(d, b), torch.tensor(d).double(), torch.tensor(b).double()[:, None]
    expect_values(
        w,
        (-B * D).softmax(1),
        {
            "the far texts get the weight: the exponent is -beta * d": (B * D).softmax(1),
            "the sum runs over the rows of the batch: each row has its own posterior, over the texts": (
                (-B * D).softmax(0)
            ),
            "beta is missing: the noise says how much one place of disagreement counts": (-D).softmax(1),
            "divided by beta: it is the inverse of a temperature, so multiply": (-D / B).softmax(1),
            "one beta for the whole batch: each row has its own noise": (-B.mean() * D).softmax(1),
            "the weights do not sum to 1: divide by their sum over the texts": (-B * D).exp(),
            "squared distances are what Gaussian noise asks for; here the places are counted": (-B * D**2).softmax(1),
            "weights that fall as 1 / (1 + d) are no posterior: every place multiplies by exp(-beta)": (
                (1 / (1 + B * D)) / (1 / (1 + B * D)).sum(1, keepdim=True)
            ),
            "only the nearest is left: that holds for beta = inf": (D == D.min(1, keepdim=True).values).double()
            / (D == D.min(1, keepdim=True).values).sum(1, keepdim=True),
        },
    )
    far = run([[96, 95, 96], [90, 96, 93]], [20.0, 700.0])
    require(
        bool(far.isfinite().all()) and torch.allclose(far.sum(1), torch.ones(2).double()),
        "texts that are all far away: exp(-beta d) is 0 for every one, and 0 / 0 follows; take the distance of the "
        "nearest off first, the weights do not change",
    )
    same = run([[3, 1, 2]], [0.0])
    require(torch.allclose(same, torch.full((1, 3), 1 / 3).double()), "beta = 0: nothing is known, all texts are alike")
    ends = run([[2, 4, 2, 3], [0, 1, 0, 0], [5, 4, 6, 7]], [torch.inf, torch.inf, torch.inf])
    require(bool(ends.isfinite().all()), "beta = inf gives NaN: inf times 0 is not a number, and inf - inf neither")
    sums = ends.sum(1)
    require(
        torch.allclose(sums, torch.ones(3).double()),
        "beta = inf, a tie: the nearest texts share the weight evenly, its sum stays 1",
    )
    right = torch.tensor([[1 / 2, 0, 1 / 2, 0], [1 / 3, 0, 1 / 3, 1 / 3], [0, 1, 0, 0]]).double()
    require(
        torch.allclose(ends, right), "beta = inf: the nearest texts share the weight evenly, whatever their distance"
    )
    mixed = run([[2, 4, 2, 3], [1, 0, 1, 0]], [torch.inf, 1.0])
    require(
        torch.allclose(mixed[0], right[0])
        and torch.allclose(mixed[1], torch.tensor([-1.0, 0, -1, 0]).double().softmax(0)),
        "a row of beta = inf and one of a finite beta in one batch: each row has its own",
    )
    draw = Cases(0)
    for rows, N in ((1, 1), (1, 7), (5, 3), (4, 60)):
        for scale in (0.1, 3.0):
            distance, beta = draw.ids(97, rows, N), scale * draw.uniform(rows, low=0.2, dtype=torch.float64)
            with untouched(distance=distance, beta=beta):
                got = fn(distance, beta)
            expect_same(got, (-beta[:, None] * distance).softmax(1), f"{rows} rows, {N} texts")


EXERCISE = Exercise(
    id="11.1",
    title="Weigh the texts",
    minutes=15,
    difficulty=2,
    objective="Turn distances into a posterior over texts, at any noise.",
    path="dlmlab.corpus.text_weights",
    stub='''\
def text_weights(distance: Tensor, beta: Tensor) -> Tensor:
    """Give the posterior over texts: the weight of text n in row b is exp(-beta[b] * distance[b, n]), over their sum.

    beta = inf is masked diffusion: the nearest texts of a row share all of the weight evenly. A batch may hold rows of
    both kinds, and texts may all be far away (distance 96, beta 700). Shapes: distance (B, N) whole numbers, beta (B,)
    float64, 0 to inf -> (B, N) float64. No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "It is a softmax over the texts, row by row. What does the exponent look like where beta is large?",
        "Take the distance of the nearest text off in every row: the weights stay, and the largest exponent is 0.",
        "Then only inf * 0 is left, at the nearest: where the gap is 0 the raw weight is 1, whatever beta.",
    ),
    check=check_text_weights,
)
