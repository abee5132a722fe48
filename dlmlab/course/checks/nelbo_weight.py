"""Exercise 2.2. A lopsided prior, three times, slopes that differ; B = L = 3, so that a wrong axis does not crash."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import expect_tensor, expect_values, require, untouched
from dlmlab.course.exercises import Exercise


def check_nelbo_weight(fn: Callable) -> None:
    """Judge an answer to 2.2."""
    x0 = torch.tensor([[0, 1, 2], [3, 0, 1], [2, 2, 0]])
    xt = torch.tensor([[0, 2, 2], [3, 1, 3], [0, 2, 3]])
    alpha, dalpha = torch.tensor([0.3, 0.6, 0.9]).double(), torch.tensor([-1.0, -2.5, -0.5]).double()
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()

    def run(xt: Tensor, prior: Tensor) -> Tensor:
        with untouched(x0=x0, xt=xt, alpha=alpha, dalpha=dalpha, prior=prior):
            w = fn(x0, xt, alpha=alpha, dalpha=dalpha, prior=prior)
        expect_tensor(w, x0.shape, torch.float64, "the weight")
        return w

    a, slope, same = alpha[:, None], -dalpha[:, None], (xt == x0).double()
    r = prior[xt]
    q = a * same + (1 - a) * r
    w = slope / a * r / q
    got = run(xt, prior)
    require(
        not torch.allclose(got[w < 5], w[w < 5]) or torch.allclose(got, w),
        "large weights are clipped: near t = 0 a changed token really counts that much",
    )
    expect_values(
        got,
        w,
        {
            "the weight is negative: alpha falls, so dalpha < 0 and the minus sign makes it positive": -w,
            "q is that of the clean token: it is the chance of the noised one, with r(xt)": slope
            / a
            * r
            / (a * same + (1 - a) * prior[x0]),
            "q forgets that the token may simply have been kept: add alpha where xt equals x0": slope / a / (1 - a)
            + 0 * r,
            "q adds alpha everywhere: a token that changed was not kept": slope / a * r / (a + (1 - a) * r),
            "alpha and 1 - alpha are swapped: alpha is the chance of being kept": slope
            / (1 - a)
            * r
            / ((1 - a) * same + a * r),
            "the factor 1 / alpha is missing": slope * r / q,
            "the factor r(xt) is missing: a token that the prior never draws has weight 0": slope / a / q,
            "the slope of the schedule is taken as -1: it is dalpha": r / q / a,
            "one slope for the whole batch: each row has its own dalpha": slope.mean() / a * r / q,
            "alpha runs along the wrong axis: it belongs to rows, use alpha[:, None]": -dalpha
            / alpha
            * r
            / (alpha * same + (1 - alpha) * r),
            "this is the weight of the mask prior: under another prior a visible token can be noise too": slope
            / (1 - a)
            * (1 - same),
        },
    )
    hidden = torch.where(xt == x0, xt, 4)  # id 4 is the mask
    seen = run(hidden, torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]).double())
    require(
        bool(seen.isfinite().all()), "under a mask prior r is 0 at visible tokens: their weight is 0, not nan or inf"
    )
    expected = slope / (a * (1 - a)) * (1 - same)
    require(
        torch.allclose(seen, expected),
        "under a mask prior the weight is 0 at visible tokens and -dalpha / (alpha (1 - alpha)) at masks",
    )


EXERCISE = Exercise(
    id="2.2",
    title="The weight of a token",
    minutes=15,
    difficulty=3,
    objective="Weigh a noised token under any prior and any schedule.",
    path="dlmlab.priors.nelbo_weight",
    stub='''\
def nelbo_weight(x0: Tensor, xt: Tensor, *, alpha: Tensor, dalpha: Tensor, prior: Tensor) -> Tensor:
    """Weight of every position in the bound: -dalpha / alpha * r(xt) / q(xt | x0).

    q(xt | x0) is alpha + (1 - alpha) r(xt) where xt equals x0, and (1 - alpha) r(xt) elsewhere; r is the prior.
    Shapes: x0 and xt (B, L), alpha and dalpha (B,) float64, prior (V,) float64 -> (B, L) float64. No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "prior[xt] looks r up for every noised token, (B, L). alpha[:, None] is one number a row.",
        "(xt == x0) is 1 where the token may have been kept: q = a * (xt == x0) + (1 - a) * r.",
    ),
    check=check_nelbo_weight,
)
