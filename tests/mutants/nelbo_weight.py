"""Answers to exercise 2.2."""

import torch


def _parts(x0, xt, alpha, prior):
    a, r = alpha[:, None], prior[xt]
    return a, r, a * (xt == x0) + (1 - a) * r


def negative(x0, xt, *, alpha, dalpha, prior):
    a, r, q = _parts(x0, xt, alpha, prior)
    return dalpha[:, None] / a * r / q


def chance_of_the_clean_token(x0, xt, *, alpha, dalpha, prior):
    a = alpha[:, None]
    return -dalpha[:, None] / a * prior[xt] / (a * (xt == x0) + (1 - a) * prior[x0])


def never_kept(x0, xt, *, alpha, dalpha, prior):
    a, r = alpha[:, None], prior[xt]
    return -dalpha[:, None] / a * r / ((1 - a) * r)


def always_kept(x0, xt, *, alpha, dalpha, prior):
    a, r = alpha[:, None], prior[xt]
    return -dalpha[:, None] / a * r / (a + (1 - a) * r)


def swaps_alpha(x0, xt, *, alpha, dalpha, prior):
    a, r, q = _parts(x0, xt, 1 - alpha, prior)
    return -dalpha[:, None] / a * r / q


def forgets_alpha(x0, xt, *, alpha, dalpha, prior):
    a, r, q = _parts(x0, xt, alpha, prior)
    return -dalpha[:, None] * r / q


def forgets_the_prior(x0, xt, *, alpha, dalpha, prior):
    a, r, q = _parts(x0, xt, alpha, prior)
    return -dalpha[:, None] / a / q


def linear_schedule(x0, xt, *, alpha, dalpha, prior):
    a, r, q = _parts(x0, xt, alpha, prior)
    return r / q / a


def mean_slope(x0, xt, *, alpha, dalpha, prior):
    a, r, q = _parts(x0, xt, alpha, prior)
    return -dalpha.mean() / a * r / q


def wrong_axis(x0, xt, *, alpha, dalpha, prior):
    r = prior[xt]
    return -dalpha / alpha * r / (alpha * (xt == x0) + (1 - alpha) * r)


def knows_masks_only(x0, xt, *, alpha, dalpha, prior):
    return -dalpha[:, None] / (1 - alpha[:, None]) * (xt != x0)


def nan_under_a_mask(x0, xt, *, alpha, dalpha, prior):
    a, r, q = _parts(x0, xt, alpha, prior)
    return -dalpha[:, None] / a / (q / r - (q == a) * a / r)  # a detour through 1 / r


def clips(x0, xt, *, alpha, dalpha, prior):
    a, r, q = _parts(x0, xt, alpha, prior)
    return (-dalpha[:, None] / a * r / q).clamp(max=5.0)


MUTANTS = {
    negative: "negative",
    chance_of_the_clean_token: "q is that of the clean token",
    never_kept: "simply have been kept",
    always_kept: "adds alpha everywhere",
    swaps_alpha: "swapped",
    forgets_alpha: "1 / alpha is missing",
    forgets_the_prior: "r(xt) is missing",
    linear_schedule: "slope of the schedule",
    mean_slope: "one slope",
    wrong_axis: "wrong axis",
    knows_masks_only: "weight of the mask prior",
    nan_under_a_mask: "nan or inf",
    clips: "clipped",
}


def token_by_token(x0, xt, *, alpha, dalpha, prior):
    w = torch.zeros(x0.shape, dtype=torch.float64)
    for b in range(x0.shape[0]):
        for i in range(x0.shape[1]):
            r = prior[xt[b, i]]
            q = (1 - alpha[b]) * r + (alpha[b] if xt[b, i] == x0[b, i] else 0)
            w[b, i] = -dalpha[b] / alpha[b] * r / q
    return w


def with_where(x0, xt, *, alpha, dalpha, prior):
    noise = torch.einsum("b,bl->bl", 1 - alpha, prior[xt])
    q = torch.where(xt == x0, noise + alpha[:, None], noise)
    return (-dalpha / alpha)[:, None] * prior[xt] / q


RIGHT = [token_by_token, with_where]
