"""Exercise 2.3. A lopsided prior, rows at different times, noised tokens that the prediction likes and dislikes; then
random worlds, the ends of time, and priors that are 0 somewhere."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, expect_values, require, seeded, untouched
from dlmlab.course.exercises import Exercise


def check_reverse_posterior(fn: Callable) -> None:
    """Judge an answer to 2.3."""
    V = 4
    logits = torch.randn(3, 3, V, generator=seeded(0), dtype=torch.float64)
    xt = torch.tensor([[0, 1, 3], [2, 2, 0], [3, 1, 0]])
    alpha_t, alpha_s = torch.tensor([0.2, 0.5, 0.35]).double(), torch.tensor([0.6, 0.7, 0.9]).double()
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()

    def run(logits: Tensor, prior: Tensor) -> Tensor:
        with untouched(logits=logits, xt=xt, alpha_t=alpha_t, alpha_s=alpha_s, prior=prior):
            p = fn(logits, xt, alpha_t=alpha_t, alpha_s=alpha_s, prior=prior)
        expect_tensor(p, logits.shape, torch.float64, "the posterior")
        return p

    s, t = alpha_s[:, None, None], alpha_t[:, None, None]
    xhat, one, r_z = logits.softmax(-1), torch.eye(V).double()[xt], prior[xt][..., None]

    def step(f: Tensor, ratio: Tensor) -> Tensor:
        joint = f * (ratio * one + (1 - ratio) * r_z)
        return joint / joint.sum(-1, keepdim=True)

    f_s = s * xhat + (1 - s) * prior
    belief = step(xhat, t)
    got = run(logits, prior)
    require(
        torch.allclose(got.sum(-1), torch.ones(3, 3).double()),
        "the probabilities of a position do not sum to 1: divide by f_t(z), the sum over e",
    )
    expect_values(
        got,
        step(f_s, t / s),
        {
            "z is counted twice: xhat does not know z yet, its evidence enters once, through q(z | e)": step(
                s * belief + (1 - s) * prior, t / s
            ),
            "the evidence of z is missing: this is f_s, the noise added to xhat": f_s,
            "this is the belief about the clean token at time 0: mix xhat with the prior by alpha_s first": belief,
            "f is taken at time t: the result lives at time s, with alpha_s": step(t * xhat + (1 - t) * prior, t / s),
            "q(z | e) keeps with alpha_t: from s to t a token is kept with alpha_t / alpha_s": step(f_s, t),
            "the step noises with the prior of e: it is z that was drawn, use r(z)": (
                lambda j: j / j.sum(-1, keepdim=True)
            )(f_s * (t / s * one + (1 - t / s) * prior)),
            "f forgets the prior: at time s a token may still be noise": step(xhat, t / s),
            "only the most likely token is used: xhat is a distribution": step(
                s * torch.eye(V).double()[xhat.argmax(-1)] + (1 - s) * prior, t / s
            ),
            "every token stays as it is: that holds for visible tokens under a mask prior only": one,
            "one alpha for the whole batch: each row has its own times": step(
                s.mean() * xhat + (1 - s.mean()) * prior, t.mean() / s.mean()
            ),
            "logits are used as probabilities: take their softmax": step(s * logits + (1 - s) * prior, t / s),
        },
    )
    masked = torch.cat([logits, torch.full((3, 3, 1), -torch.inf).double()], -1)
    xt = torch.tensor([[0, 4, 3], [4, 4, 0], [3, 1, 4]])  # id 4 is the mask
    got = run(masked, torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]).double())
    require(
        torch.allclose(got[xt != 4], torch.eye(5).double()[xt[xt != 4]]),
        "under a mask prior a visible token stays: q(z | e) is 0 for every other e",
    )
    stays = ((1 - alpha_s) / (1 - alpha_t))[:, None].expand(3, 3)[xt == 4]
    require(
        torch.allclose(got[xt == 4][:, 4], stays),
        "under a mask prior a mask stays with probability (1 - alpha_s) / (1 - alpha_t)",
    )
    _expect_on_random_worlds(fn)


def _expect_on_random_worlds(fn: Callable) -> None:
    draw = Cases(0)
    for B, L, V in ((1, 1, 2), (1, 5, 4), (4, 1, 3), (3, 6, 7), (5, 2, 12)):
        for end in ("between", "t = 1", "s = 0"):
            alpha_s, share = draw.uniform(B, low=0.3, high=0.95).double(), draw.uniform(B, low=0.1, high=0.9).double()
            alpha_s = torch.ones_like(alpha_s) if end == "s = 0" else alpha_s
            alpha_t = alpha_s * (0 * share if end == "t = 1" else share)
            for masks in (False, True):
                logits, prior, xt = (
                    2 * draw.normal(B, L, V, dtype=torch.float64),
                    draw.distribution(V),
                    draw.ids(V, B, L),
                )
                if masks:
                    prior = torch.eye(V).double()[V - 1]
                    logits[..., V - 1] = -torch.inf  # the mask is never a guess
                    xt = torch.full_like(xt, V - 1) if end == "t = 1" else torch.where(draw.bools(B, L), V - 1, xt)
                with untouched(logits=logits, xt=xt, alpha_t=alpha_t, alpha_s=alpha_s, prior=prior):
                    p = fn(logits, xt, alpha_t=alpha_t, alpha_s=alpha_s, prior=prior)
                expect_tensor(p, logits.shape, torch.float64, "the posterior")
                case = f"{'mask' if masks else 'random'} prior over {V} tokens, {end}"
                require(bool(p.isfinite().all()), f"{case}: NaN or infinity; alpha is 0 at t = 1 and 1 at s = 0")
                expect_same(p, _by_hand(logits, xt, alpha_t, alpha_s, prior), case, tol=1e-8)


def _by_hand(logits: Tensor, xt: Tensor, alpha_t: Tensor, alpha_s: Tensor, prior: Tensor) -> Tensor:
    """Bayes' rule token by token: where it was at s, times the chance to get from there to what stands now."""
    result, V = torch.zeros_like(logits), len(prior)
    for b, i in torch.cartesian_prod(torch.arange(len(xt)), torch.arange(xt.shape[1])).tolist():
        guess, z, keep = logits[b, i].softmax(-1), int(xt[b, i]), float(alpha_t[b] / alpha_s[b])
        for e in range(V):
            there = alpha_s[b] * guess[e] + (1 - alpha_s[b]) * prior[e]
            result[b, i, e] = there * ((keep if e == z else 0.0) + (1 - keep) * prior[z])
    return result / result.sum(-1, keepdim=True)


EXERCISE = Exercise(
    id="2.3",
    title="One step back: find the bug",
    minutes=20,
    difficulty=4,
    objective="Sample one step under any noise, and count the evidence once.",
    path="dlmlab.priors.reverse_posterior",
    kind="find the bug",
    stub='''\
def reverse_posterior(logits: Tensor, xt: Tensor, *, alpha_t: Tensor, alpha_s: Tensor, prior: Tensor) -> Tensor:
    """Distribution of every token at the earlier time s, given the token z = xt that stands there at time t.

    softmax(logits) is what the other positions say about the clean token: it has not seen z.
    Shapes: logits (B, L, V) float64, xt (B, L), alpha_t and alpha_s (B,), prior (V,) -> (B, L, V) float64. No input is
    changed.
    """
    z = torch.nn.functional.one_hot(xt, len(prior)).double()  # (B, L, V)
    a_t, a_s, r_z = alpha_t[:, None, None], alpha_s[:, None, None], prior[xt][..., None]
    guess = logits.softmax(-1) * (a_t * z + (1 - a_t) * r_z)
    guess = guess / guess.sum(-1, keepdim=True)
    there = a_s * guess + (1 - a_s) * prior  # where the token was at time s
    ratio = a_t / a_s
    joint = there * (ratio * z + (1 - ratio) * r_z)  # noise from s to t
    return joint / joint.sum(-1, keepdim=True)
''',
    hints=(
        "Compare the code with the formula above, factor by factor: what in the code has no place in the formula?",
        "Which lines look at z? Its evidence belongs in one place only, and the guess has not seen z.",
        "Delete the evidence from the guess: it is softmax(logits), and nothing is multiplied to it before time s.",
    ),
    check=check_reverse_posterior,
)
