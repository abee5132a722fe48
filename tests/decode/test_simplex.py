"""Closed forms of decoders against a generic solver, and the certificate against both."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from dlmlab.decode import simplex

S = torch.tensor([2.0, 1.5, 0.5, 0.0, -1.0], dtype=torch.float64)


def generic(s, omega, T=1.0):
    """Maximise <q, s> - T omega(q) over the simplex by sequential quadratic programming: knows no closed form."""
    V = len(s)
    found = minimize(
        lambda q: -(q @ s.numpy()) + T * omega(np.clip(q, 1e-300, None)),
        np.full(V, 1 / V),
        bounds=[(0, 1)] * V,
        constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return torch.tensor(found.x)


OMEGAS = {
    "softmax": (lambda s: s.softmax(-1), lambda q: (q * np.log(q)).sum()),
    "sparsemax": (simplex.sparsemax, lambda q: (q**2).sum() / 2),
    "entmax 1.5": (lambda s: simplex.entmax(s, 1.5), lambda q: ((q**1.5).sum() - 1) / 0.75),
}


@pytest.mark.parametrize("T", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("name", OMEGAS)
def test_a_closed_form_is_what_a_generic_solver_finds(name, T):
    closed, omega = OMEGAS[name]
    g = torch.Generator().manual_seed(1)
    for s in (S, torch.randn(7, generator=g, dtype=torch.float64)):
        assert torch.allclose(closed(s / T), generic(s, omega, T), atol=2e-4)


def test_golden_values():
    """Reference: worked by hand for sparsemax, bisection in exact arithmetic for the rest."""
    assert torch.allclose(simplex.sparsemax(S / 4), torch.tensor([0.5, 0.375, 0.125, 0, 0]).double())
    wanted = torch.tensor([0.671164, 0.324041, 0.004795, 0, 0]).double()
    assert torch.allclose(simplex.entmax(S, 1.5), wanted, atol=1e-6)
    assert torch.allclose(simplex.entmax(S, 2.0), simplex.sparsemax(S)) and (simplex.entmax(S, 1) > 0).all()


def test_the_best_support_of_k_tokens_is_that_of_the_k_largest():
    values = {tokens: float(S[list(tokens)].logsumexp(0)) for tokens in itertools.combinations(range(5), 2)}
    assert max(values, key=values.get) == tuple(simplex.top_k(S, 2).nonzero()[:, 0].tolist())


def test_supports_are_chosen_by_their_rules():
    p = S.softmax(-1)
    assert simplex.top_p(S, 0.8).tolist() == [True, True, True, False, False]
    assert simplex.top_p(S, 1e-9).sum() == 1 and simplex.top_p(S, 1.0).all()
    assert simplex.min_p(S, float(p[2] / p[0]) * 0.999).sum() == 3
    assert simplex.top_k(torch.tensor([1.0, 1.0, 1.0]), 2).tolist() == [True, True, False]
    q = simplex.softmax_on(S, simplex.top_k(S, 3))
    assert torch.allclose(q[:3], p[:3] / p[:3].sum()) and (q[3:] == 0).all()


def test_minus_infinity_rules_a_token_out():
    s = torch.tensor([0.3, -torch.inf, 0.1])
    for q in (simplex.sparsemax(s), simplex.entmax(s, 1.5), simplex.softmax_on(s, simplex.top_p(s, 0.99))):
        assert q[1] == 0 and abs(float(q.sum()) - 1) < 1e-6


def test_the_certificate_signs_what_is_optimal_and_nothing_else():
    q = simplex.sparsemax(S)
    assert simplex.exchange_gain(q, S - q) < 1e-12
    worst = torch.tensor([0.0, 0, 0, 0, 1])
    assert simplex.exchange_gain(worst, S - worst) == 4.0
    with pytest.raises(ValueError, match="the sum 1.010"):
        simplex.exchange_gain(torch.tensor([0.67, 0.24, 0.09, 0.01]), S[:4])


@pytest.mark.parametrize("call", [lambda: simplex.entmax(S, 0.5), lambda: simplex.top_k(S, 0)])
def test_what_means_nothing_is_refused(call):
    with pytest.raises(ValueError):
        call()
