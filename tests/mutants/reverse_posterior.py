"""Answers to exercise 2.3."""

import torch
import torch.nn.functional as F


def _norm(joint):
    return joint / joint.sum(-1, keepdim=True)


def _f(xhat, alpha, prior):
    a = alpha[:, None, None]
    return a * xhat + (1 - a) * prior


def _q(xt, ratio, prior):
    keep = ratio[:, None, None]
    return keep * F.one_hot(xt, len(prior)) + (1 - keep) * prior[xt][..., None]


def counts_z_twice(logits, xt, *, alpha_t, alpha_s, prior):
    belief = _norm(logits.softmax(-1) * _q(xt, alpha_t, prior))
    return _norm(_f(belief, alpha_s, prior) * _q(xt, alpha_t / alpha_s, prior))


def forgets_the_evidence(logits, xt, *, alpha_t, alpha_s, prior):
    return _f(logits.softmax(-1), alpha_s, prior)


def jumps_to_time_0(logits, xt, *, alpha_t, alpha_s, prior):
    return _norm(logits.softmax(-1) * _q(xt, alpha_t, prior))


def stays_at_time_t(logits, xt, *, alpha_t, alpha_s, prior):
    return _norm(_f(logits.softmax(-1), alpha_t, prior) * _q(xt, alpha_t / alpha_s, prior))


def keeps_with_alpha_t(logits, xt, *, alpha_t, alpha_s, prior):
    return _norm(_f(logits.softmax(-1), alpha_s, prior) * _q(xt, alpha_t, prior))


def noises_with_e(logits, xt, *, alpha_t, alpha_s, prior):
    keep = (alpha_t / alpha_s)[:, None, None]
    return _norm(_f(logits.softmax(-1), alpha_s, prior) * (keep * F.one_hot(xt, len(prior)) + (1 - keep) * prior))


def no_noise_at_s(logits, xt, *, alpha_t, alpha_s, prior):
    return _norm(logits.softmax(-1) * _q(xt, alpha_t / alpha_s, prior))


def most_likely_token_only(logits, xt, *, alpha_t, alpha_s, prior):
    best = F.one_hot(logits.argmax(-1), len(prior)).double()
    return _norm(_f(best, alpha_s, prior) * _q(xt, alpha_t / alpha_s, prior))


def keeps_everything(logits, xt, *, alpha_t, alpha_s, prior):
    return F.one_hot(xt, len(prior)).double()


def one_time_for_the_batch(logits, xt, *, alpha_t, alpha_s, prior):
    s, t = alpha_s.mean().expand_as(alpha_s), alpha_t.mean().expand_as(alpha_t)
    return _norm(_f(logits.softmax(-1), s, prior) * _q(xt, t / s, prior))


def no_softmax(logits, xt, *, alpha_t, alpha_s, prior):
    return _norm(_f(logits, alpha_s, prior) * _q(xt, alpha_t / alpha_s, prior))


def not_normalised(logits, xt, *, alpha_t, alpha_s, prior):
    return _f(logits.softmax(-1), alpha_s, prior) * _q(xt, alpha_t / alpha_s, prior)


def normalised_over_places(logits, xt, *, alpha_t, alpha_s, prior):
    joint = _f(logits.softmax(-1), alpha_s, prior) * _q(xt, alpha_t / alpha_s, prior)
    return joint / joint.sum(1, keepdim=True)


def writes_into_the_logits(logits, xt, *, alpha_t, alpha_s, prior):
    logits.sub_(logits.logsumexp(-1, keepdim=True))
    return _norm(_f(logits.exp(), alpha_s, prior) * _q(xt, alpha_t / alpha_s, prior))


def nan_at_alpha_0(logits, xt, *, alpha_t, alpha_s, prior):
    q = _q(xt, alpha_t / alpha_s, prior) / alpha_t[:, None, None]
    return _norm(_f(logits.softmax(-1), alpha_s, prior) * q)


def clips_small_probabilities(logits, xt, *, alpha_t, alpha_s, prior):
    return _norm((_f(logits.softmax(-1), alpha_s, prior) * _q(xt, alpha_t / alpha_s, prior)).clamp(min=1e-6))


def times_between_0_and_1_only(logits, xt, *, alpha_t, alpha_s, prior):
    s = alpha_s.clamp(max=0.99)
    return _norm(_f(logits.softmax(-1), s, prior) * _q(xt, alpha_t / s, prior))


MUTANTS = {
    counts_z_twice: "counted twice",
    forgets_the_evidence: "evidence of z is missing",
    jumps_to_time_0: "time 0",
    stays_at_time_t: "f is taken at time t",
    keeps_with_alpha_t: "alpha_t / alpha_s",
    noises_with_e: "use r(z)",
    no_noise_at_s: "f forgets the prior",
    most_likely_token_only: "most likely token",
    keeps_everything: "every token stays",
    one_time_for_the_batch: "whole batch",
    no_softmax: "softmax",
    not_normalised: "sum to 1",
    normalised_over_places: "sum to 1",
    writes_into_the_logits: "in place",
    nan_at_alpha_0: "NaN",
    clips_small_probabilities: "under a mask prior",
    times_between_0_and_1_only: "s = 0",
}


def token_by_token(logits, xt, *, alpha_t, alpha_s, prior):
    p = torch.zeros(logits.shape, dtype=torch.float64)
    for b in range(xt.shape[0]):
        keep = alpha_t[b] / alpha_s[b]
        for i in range(xt.shape[1]):
            z, xhat = int(xt[b, i]), logits[b, i].softmax(-1)
            for e in range(len(prior)):
                p[b, i, e] = (alpha_s[b] * xhat[e] + (1 - alpha_s[b]) * prior[e]) * (
                    keep * (z == e) + (1 - keep) * prior[z]
                )
    return _norm(p)


def by_the_denominator_of_the_papers(logits, xt, *, alpha_t, alpha_s, prior):
    xhat = logits.softmax(-1)
    f_t = _f(xhat, alpha_t, prior).gather(-1, xt[..., None])
    return _f(xhat, alpha_s, prior) * _q(xt, alpha_t / alpha_s, prior) / f_t


RIGHT = [token_by_token, by_the_denominator_of_the_papers]
