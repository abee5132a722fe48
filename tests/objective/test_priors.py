"""The general bound equals the closed forms of the literature, and the reverse step is Bayes' rule.

Numbers in brackets are the invariants of the contract (reference/sampling-methods.md, section 7).
"""

import pytest
import torch

from dlmlab.objective.priors import (
    belief,
    interpolating_nelbo,
    mask_prior,
    mixed_prior,
    nelbo_weight,
    noise_shares,
    noise_tokens,
    reverse_posterior,
    uniform_prior,
    without_own,
)

XHAT = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
M = 4  # the mask, where there is one: the last of five ids
# Golden values (reference/sampling-methods.md, section 3.1): computed from the closed forms of the repositories of Duo,
# MDLM and XDLM. x = 0, alpha' = -1; one value for each noised token.
GOLDEN = [
    ("uniform", 0.25, [0.353581, 0.552344, 0.419568, 0.321721]),
    ("uniform", 0.5, [0.371012, 1.750469, 1.351827, 0.981490]),
    ("uniform", 0.9, [0.355675, 24.568857, 20.938192, 15.575550]),
    ("mask", 0.5, [0.0, None, None, None, 1.832581]),
    ("mixed", 0.5, [0.072484, 8.871964, 7.486826, 5.365313, 1.531609]),
]


def setting(kind):
    """Prior and logits of the golden values."""
    if kind == "uniform":
        return uniform_prior(4), XHAT.log()
    return mixed_prior(5, M, 0.0 if kind == "mask" else 0.1), torch.cat([XHAT, torch.zeros(1)]).log()


def at(alpha, R=1):
    return torch.full((R,), alpha, dtype=torch.float64)


def random_logits(B, L, V, *, forbidden=None):
    logits = torch.randn(B, L, V, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if forbidden is not None:
        logits[..., forbidden] = -torch.inf
    return logits


@pytest.mark.parametrize("kind, alpha, values", GOLDEN)
def test_the_general_bound_gives_the_published_closed_forms(kind, alpha, values):
    prior, logits = setting(kind)
    for z, value in enumerate(values):
        if value is not None:
            x0, xt = torch.tensor([[0]]), torch.tensor([[z]])
            got = interpolating_nelbo(
                logits[None, None], x0, xt, alpha=at(alpha), dalpha=-torch.ones(1), prior=prior
            ).item()
            assert got == pytest.approx(value, abs=2e-6)


def test_the_mask_prior_is_the_weighted_cross_entropy_at_masks_and_0_elsewhere():
    x0 = torch.tensor([[0, 1, 2], [3, 2, 1]])
    xt = torch.tensor([[M, 1, M], [3, M, M]])
    logits, alpha, dalpha = random_logits(2, 3, 5, forbidden=M), torch.tensor([0.3, 0.8]), torch.tensor([-1.0, -2.5])
    ce = -logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]
    expected = torch.where(xt == M, ce * (-dalpha / (1 - alpha))[:, None], 0.0)
    got = interpolating_nelbo(logits, x0, xt, alpha=alpha, dalpha=dalpha, prior=mask_prior(5, M))
    torch.testing.assert_close(got, expected.double())


def test_a_visible_token_costs_nothing_under_the_mask_prior_even_if_the_model_rules_it_out():
    logits = torch.tensor([[[-torch.inf, 0.0, -torch.inf]]])
    x0 = torch.tensor([[0]])
    got = interpolating_nelbo(logits, x0, x0, alpha=at(0.5), dalpha=-torch.ones(1), prior=mask_prior(3, 2))
    assert got.item() == 0


@pytest.mark.parametrize("kind", ["uniform", "mask", "mixed"])
def test_a_perfect_prediction_costs_nothing_and_any_other_something(kind):
    prior, _ = setting(kind)
    V = len(prior)
    x0 = torch.zeros(1, V, dtype=torch.long)
    xt = torch.arange(V)[None]
    logits = torch.full((1, V, V), -torch.inf)
    logits[..., 0] = 0
    exact = interpolating_nelbo(logits, x0, xt, alpha=at(0.6), dalpha=-torch.ones(1), prior=prior)
    reachable = (xt == x0) | (prior[xt] > 0)
    assert bool((exact[reachable].abs() < 1e-12).all())
    other = interpolating_nelbo(
        random_logits(1, V, V, forbidden=M if V == 5 else None),
        x0,
        xt,
        alpha=at(0.6),
        dalpha=-torch.ones(1),
        prior=prior,
    )
    assert bool((other[:, prior > 0] > 0).all()) and bool((other >= 0).all())


PRIORS = {  # on five ids, the last of them the mask
    "uniform over all": uniform_prior(5),
    "mask": mask_prior(5, M),
    "mixed": mixed_prior(5, M, 0.3),
    "uniform without the mask": torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0]),
    "two ids": torch.tensor([0.5, 0.0, 0.0, 0.5, 0.0]),
    "one clean id": torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]),
}
EVERY_PAIR = torch.cartesian_prod(torch.arange(5), torch.arange(5)).T.view(2, 1, 25)  # x0, xt


def gradient(fn, logits, **options):
    """Value and gradient of a sum, taken over the finite entries."""
    leaf = logits.clone().requires_grad_()
    value = fn(leaf, **options)
    value[value.isfinite()].sum().backward()
    return value.detach(), leaf.grad


@pytest.mark.parametrize("t", [1e-12, 1e-3, 0.5, 0.999, 1 - 1e-12])
@pytest.mark.parametrize("ruled_out", [[], [M], [M, 2], [0, 1, 2, M]])
@pytest.mark.parametrize("prior", PRIORS)
def test_every_prior_has_finite_gradients(prior, ruled_out, t):
    """Ids with logit -inf and prior 0, clean tokens that the model rules out, tokens that the noise cannot make."""
    (x0, xt), logits = EVERY_PAIR, random_logits(1, 25, 5, forbidden=ruled_out)
    options = {"alpha": at(1 - t), "prior": PRIORS[prior].double()}
    loss, grad = gradient(interpolating_nelbo, logits, x0=x0, xt=xt, dalpha=-torch.ones(1), **options)
    assert not bool(loss.isnan().any()) and bool(grad.isfinite().all())
    possible = (xt == x0) | (PRIORS[prior][xt] > 0)
    assert not loss[~possible].any() and not grad[..., ruled_out].any()
    for fn, times in ((belief, options), (reverse_posterior, None)):
        times = times or {"alpha_t": at(1 - t) * 0.9, "alpha_s": at(1 - t), "prior": options["prior"]}
        out, grad = gradient(fn, logits, xt=xt, **times)
        assert bool(out.isfinite().all()) and bool(grad.isfinite().all())
        torch.testing.assert_close(out.sum(-1), torch.ones(1, 25, dtype=torch.float64))


@pytest.mark.parametrize("prior", PRIORS)
def test_a_gradient_step_on_an_infinite_loss_is_finite(prior):
    """Where the clean token is ruled out and nothing else explains the mask, the loss is inf as in cross-entropy."""
    (x0, xt), logits = EVERY_PAIR, random_logits(1, 25, 5, forbidden=[0, 1]).requires_grad_()
    options = {"alpha": at(0.4), "dalpha": -torch.ones(1), "prior": PRIORS[prior].double()}
    interpolating_nelbo(logits, x0, xt, **options).sum().backward()
    assert bool(logits.grad.isfinite().all())


def test_logits_far_below_the_best_do_not_underflow_to_an_infinite_loss():
    logits = torch.tensor([[[-2000.0, 0, 0, 0, -torch.inf]]], dtype=torch.float64)
    x0, xt = torch.tensor([[0]]), torch.tensor([[M]])
    options = {"alpha": at(0.5), "dalpha": -torch.ones(1), "prior": mask_prior(5, M)}
    loss, grad = gradient(interpolating_nelbo, logits, x0=x0, xt=xt, **options)
    assert loss.item() == pytest.approx(2 * (2000 + torch.tensor(3.0).log().item())) and grad[0, 0, 0] == -2


def test_gradients_are_those_of_finite_differences():
    (x0, xt), logits = EVERY_PAIR, random_logits(1, 25, 5, forbidden=[M])
    prior = PRIORS["uniform without the mask"].double()
    options = {"x0": x0, "xt": xt, "alpha": at(0.4), "dalpha": -torch.ones(1), "prior": prior}
    possible, step = (x0 == xt) | (prior[xt] > 0), 1e-6
    possible &= x0 != M
    _, grad = gradient(lambda leaf, **o: interpolating_nelbo(leaf, **o)[possible], logits, **options)
    for v in range(4):
        up, down = (interpolating_nelbo(logits + s * step * torch.eye(5)[v], **options) for s in (1, -1))
        torch.testing.assert_close(grad[possible][:, v], ((up - down) / (2 * step))[possible], atol=1e-6, rtol=1e-5)


def test_the_mixture_ends_at_mask_and_uniform():  # invariant 13, the priors
    assert torch.equal(mixed_prior(5, M, 0.0), mask_prior(5, M))
    assert torch.equal(mixed_prior(5, M, 1.0), uniform_prior(5))
    assert mixed_prior(5, M, 0.3).sum().item() == pytest.approx(1)


def test_the_weight_of_the_bound_is_zero_where_a_masked_model_sees():
    x0, xt = torch.tensor([[0, 1]]), torch.tensor([[0, M]])
    w = nelbo_weight(x0, xt, alpha=at(0.25), dalpha=-torch.ones(1), prior=mask_prior(5, M))
    assert w.tolist() == [[0.0, pytest.approx(1 / (0.25 * 0.75))]]


def test_the_reverse_step_gives_the_golden_values():
    # Section 3.3 (Duo) and 7.1 (mask, XDLM), alpha_t = 0.4, alpha_s = 0.7.
    prior, logits = setting("uniform")
    step = reverse_posterior(
        logits.expand(1, 2, 4), torch.tensor([[0, 1]]), alpha_t=at(0.4), alpha_s=at(0.7), prior=prior
    )
    expected = [[0.777074, 0.098502, 0.074309, 0.050115], [0.140873, 0.716270, 0.085317, 0.057540]]
    torch.testing.assert_close(step[0], torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)
    for kind, stays in (("mask", 0.5), ("mixed", 0.482857)):
        prior, logits = setting(kind)
        step = reverse_posterior(
            logits.expand(1, 1, 5), torch.tensor([[M]]), alpha_t=at(0.4), alpha_s=at(0.7), prior=prior
        )
        assert step[0, 0, M].item() == pytest.approx(stays, abs=1e-6)


@pytest.mark.parametrize("kind", ["uniform", "mask", "mixed"])
def test_the_reverse_step_is_bayes_rule_for_a_known_clean_token(kind):
    prior, _ = setting(kind)
    V, x, alpha_t, alpha_s = len(prior), 2, 0.4, 0.7
    logits = torch.full((1, V, V), -torch.inf, dtype=torch.float64)
    logits[..., x] = 0
    one = torch.eye(V, dtype=torch.float64)
    q_s = alpha_s * one[x] + (1 - alpha_s) * prior  # p(x_s = e | x)
    keep = alpha_t / alpha_s
    q_ts = keep * one + (1 - keep) * prior  # [e, z]
    joint = (q_s[:, None] * q_ts).T  # [z, e]
    seen = joint.sum(1) > 0
    expected = joint[seen] / joint[seen].sum(1, keepdim=True)
    xt = torch.arange(V)[None]
    got = reverse_posterior(logits, xt, alpha_t=at(alpha_t), alpha_s=at(alpha_s), prior=prior)[0]
    torch.testing.assert_close(got[seen], expected)


def test_a_masked_model_never_changes_what_is_visible():
    logits = random_logits(1, 3, 5, forbidden=M)
    logits[0, 0, 1] = -torch.inf  # not even a token that the model rules out
    xt = torch.tensor([[1, 2, M]])
    step = reverse_posterior(logits, xt, alpha_t=at(0.2), alpha_s=at(0.9), prior=mask_prior(5, M))
    assert step[0, 0, 1] == 1 and step[0, 1, 2] == 1
    assert step[0, 2, M].item() == pytest.approx((1 - 0.9) / (1 - 0.2))


def test_the_belief_joins_prediction_and_evidence():
    prior, logits = setting("uniform")
    alpha = 0.5
    likelihood = torch.full((4,), 0.125, dtype=torch.float64)
    likelihood[3] += alpha
    expected = XHAT * likelihood / (XHAT * likelihood).sum()
    got = belief(logits[None, None], torch.tensor([[3]]), alpha=at(alpha), prior=prior)
    torch.testing.assert_close(got[0, 0], expected)
    masked = belief(
        setting("mask")[1][None, None], torch.tensor([[M]]), alpha=at(alpha), prior=mask_prior(5, M)
    )  # a mask says nothing
    torch.testing.assert_close(masked[0, 0, :4], XHAT)


def test_wrong_requests_say_what_is_wrong():
    prior, logits = setting("uniform")
    x = torch.tensor([[0]])
    options = {"dalpha": -torch.ones(1), "prior": prior}
    for alpha in (0.0, 1.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="strictly between 0 and 1"):
            interpolating_nelbo(logits[None, None], x, x, alpha=at(alpha), **options)
    with pytest.raises(ValueError, match="one alpha for each row"):
        interpolating_nelbo(logits[None, None], x, x, alpha=at(0.5, 2), **options)
    with pytest.raises(ValueError, match=r"dalpha=\[0.5\] must be <= 0"):
        nelbo_weight(x, x, alpha=at(0.5), dalpha=at(0.5), prior=prior)
    with pytest.raises(ValueError, match="prior must be"):
        nelbo_weight(x, x, alpha=at(0.5), dalpha=-torch.ones(1), prior=prior / 2)
    with pytest.raises(ValueError, match="less noisy"):
        reverse_posterior(logits[None, None], x, alpha_t=at(0.7), alpha_s=at(0.4), prior=prior)
    for alpha_s, text in ((at(1.5), r"in \[0, 1\]"), (at(0.9, 2), "one alpha for each row")):
        with pytest.raises(ValueError, match=text):
            reverse_posterior(logits[None, None], x, alpha_t=at(0.7), alpha_s=alpha_s, prior=prior)
    with pytest.raises(ValueError, match=r"k=1.5 must lie in \[0, 1\]"):
        mixed_prior(5, M, 1.5)


# ------------------------------------------------------------------------------------------------ noise and its shares


@pytest.mark.parametrize("k", [0.0, 0.1, 1.0])
def test_noise_meets_the_shares_that_are_foreseen(k):
    x0 = torch.zeros(400, 100, dtype=torch.long)
    z = noise_tokens(x0, torch.full((400,), 0.3), mixed_prior(8, 7, k), generator=torch.Generator().manual_seed(0))
    masked, wrong = noise_shares(0.3, k, 8)
    assert float((z == 7).double().mean()) == pytest.approx(masked, abs=0.01)
    assert float(((z != 7) & (z != 0)).double().mean()) == pytest.approx(wrong, abs=0.01)


def test_noise_leaves_given_places_alone():
    x0 = torch.zeros(50, 6, dtype=torch.long)
    where = torch.tensor([True, False, True, False, True, False]).expand(50, 6)
    z = noise_tokens(x0, torch.zeros(50), mask_prior(4, 3), where=where, generator=torch.Generator().manual_seed(0))
    assert bool((z[where] == 3).all()) and bool((z[~where] == 0).all())


@pytest.mark.parametrize("call", [lambda: noise_shares(1.2, 0.1, 5), lambda: noise_shares(0.5, 2, 5)])
def test_shares_of_no_noise_are_refused(call):
    with pytest.raises(ValueError, match="must lie"):
        call()


def test_without_own_undoes_belief():
    g = torch.Generator().manual_seed(0)
    logits, z = torch.randn(3, 4, 6, generator=g, dtype=torch.float64), torch.randint(0, 6, (3, 4), generator=g)
    alpha, prior = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64), mixed_prior(6, 5, 0.3)
    sure = belief(logits, z, alpha=alpha, prior=prior)
    back = without_own(sure.log(), z, alpha=alpha, prior=prior)
    torch.testing.assert_close(back, logits.log_softmax(-1))


def test_without_own_keeps_what_a_mask_prior_makes_certain():
    alpha, prior = torch.tensor([0.5], dtype=torch.float64), mask_prior(3, 2)
    back = without_own(torch.tensor([[[0.0, -9.0, -torch.inf]]]), torch.tensor([[0]]), alpha=alpha, prior=prior)
    assert back.exp().tolist() == [[[1.0, 0.0, 0.0]]]
