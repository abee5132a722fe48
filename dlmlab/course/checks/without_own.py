"""Exercise 12.3. Tokens that lie rarely and often, masks, a prior that rules out, logits that are not normalised."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, close, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_without_own(fn: Callable) -> None:
    """Judge an answer to 12.3."""

    def run(p: Tensor, z: Tensor, alpha: Tensor, prior: Tensor) -> Tensor:
        log_p = p.log()
        with untouched(log_p=log_p, xt=z, alpha=alpha, prior=prior):
            out = fn(log_p, z, alpha=alpha, prior=prior)
        expect_tensor(out, p.shape, torch.float64)
        return out

    prior, alpha = torch.full((4,), 0.25, dtype=torch.float64), torch.tensor([0.6], dtype=torch.float64)
    p, z = torch.tensor([[[0.7, 0.1, 0.1, 0.1]]], dtype=torch.float64), torch.tensor([[0]])
    got = run(p, z, alpha, prior)  # q = 0.7 at the token, 0.1 elsewhere: all equal afterwards
    for message, wrong in {
        "the evidence is counted once more: divide by q, do not multiply": [0.49, 0.01, 0.01, 0.01],
        "nothing was taken out: p(x | z) still knows its own token": [0.7, 0.1, 0.1, 0.1],
        "alpha and 1 - alpha are exchanged: alpha is the probability to keep": [0.7 / 0.55, 1 / 1.5, 1 / 1.5, 1 / 1.5],
        "the token's own column is struck out: the evidence is taken out, not the id": [0.0, 0.1, 0.1, 0.1],
    }.items():
        values = torch.tensor(wrong, dtype=torch.float64)
        require(not close(got[0, 0].softmax(-1), values / values.sum()), message)
    require(
        close(got.softmax(-1).flatten(), [0.25] * 4),
        "q is 0.7 at the token that stands there and 0.1 elsewhere, as p is: all the knowledge was the token's own",
    )
    require(close(got.exp().sum(), 1.0), "the result is a log-distribution: subtract its logsumexp (log_softmax)")
    mask = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    p = torch.tensor([[[0.5, 0.3, 0.2, 0.0], [1.0, 0.0, 0.0, 0.0]]], dtype=torch.float64)
    got = run(p, torch.tensor([[3, 0]]), alpha, mask)
    require(
        close(got[0, 0].exp(), [0.5, 0.3, 0.2, 0.0]),
        "a mask says nothing about its place: there is nothing to take out",
    )
    require(
        not bool(got.isnan().any()) and close(got[0, 1].exp(), [1.0, 0.0, 0.0, 0.0]),
        "under masks a visible token is certain: ids with q = 0 are ruled out for good and get -inf, not 0 / 0",
    )
    draw = Cases(123)
    for B, L, V in ((1, 1, 3), (2, 3, 4), (3, 5, 9), (1, 4, 6)):
        prior, alpha = draw.distribution(V), draw.uniform(B, low=0.1, high=0.9, dtype=torch.float64)
        cavity, z = draw.normal(B, L, V, dtype=torch.float64).softmax(-1), draw.ids(V, B, L)
        q = torch.stack([_q(z[b], float(alpha[b]), prior) for b in range(B)])
        joint = cavity * q
        got = run(joint / joint.sum(-1, keepdim=True), z, alpha, prior)
        expect_same(got, cavity.log(), f"{B} texts of {L} tokens, {V} ids, a prior that is not even")
        require(
            close(run(3.0 * joint, z, alpha, prior), cavity.log(), tol=1e-5),
            "logits that are not normalised say the same: the result is normalised, whatever came in",
        )


def _q(z: Tensor, alpha: float, prior: Tensor) -> Tensor:
    """How probable the token that stands there is, for every id that may have been there before, (L, V)."""
    rows = [[(1 - alpha) * float(prior[t]) + alpha * (t == v) for v in range(len(prior))] for t in z.tolist()]
    return torch.tensor(rows, dtype=torch.float64)


EXERCISE = Exercise(
    id="12.3",
    title="Without its own vote",
    minutes=15,
    difficulty=3,
    objective="Turn a model of p(x_i | z) into what the step back under any noise needs.",
    path="dlmlab.priors.without_own",
    stub='''\
def without_own(log_p: Tensor, xt: Tensor, *, alpha: Tensor, prior: Tensor) -> Tensor:
    """Take the evidence of z_i out of log p(x_i | z), (B, L, V): the leave-one-out log-distribution, float64.

    q_t(z_i | v) = alpha 1[z_i = v] + (1 - alpha) prior(z_i). An id with q = 0 gets -inf. log_p may lack a constant.
    Shapes: log_p (B, L, V), xt (B, L) the noised tokens z, alpha (B,), prior (V,).
    """
    raise NotImplementedError
''',
    hints=(
        "Bayes' rule builds the model's guess from two factors: what all other tokens say, and what this token says. "
        "Which one do you want to be rid of?",
        "For every place and every id, how probable is the token that stands there, had that id been there before? It "
        "is one number for all ids, and alpha more for one of them. Divide by it, then normalise.",
        "q = alpha * one_hot(xt, V) + (1 - alpha) * prior[xt][..., None]; (log_p - q.log()).log_softmax(-1), and -inf "
        "where q is 0.",
    ),
    check=check_without_own,
)
