"""Answers to exercise 12.3."""

import torch
import torch.nn.functional as F


def _q(xt, alpha, prior, V):
    a = alpha[:, None, None].double()
    return a * F.one_hot(xt, V) + (1 - a) * prior[xt].double()[..., None]


def _safe(log_p, q):
    return (log_p.double() - torch.where(q > 0, q, 1.0).log()).masked_fill(q == 0, -torch.inf)


def multiplies(log_p, xt, *, alpha, prior):
    q = _q(xt, alpha, prior, log_p.shape[-1])
    return (log_p.double() + q.log()).log_softmax(-1)


def leaves_it(log_p, xt, *, alpha, prior):
    return log_p.double().log_softmax(-1)


def divides_by_the_noise(log_p, xt, *, alpha, prior):
    noise = (1 - alpha)[:, None, None].double() * prior.double()
    return (log_p.double() - noise.clamp(min=1e-30).log()).log_softmax(-1)


def exchanges_alpha(log_p, xt, *, alpha, prior):
    return _safe(log_p, _q(xt, 1 - alpha, prior, log_p.shape[-1])).log_softmax(-1)


def strikes_the_token_out(log_p, xt, *, alpha, prior):
    return log_p.double().masked_fill(F.one_hot(xt, log_p.shape[-1]).bool(), -torch.inf).log_softmax(-1)


def does_not_normalise(log_p, xt, *, alpha, prior):
    return _safe(log_p, _q(xt, alpha, prior, log_p.shape[-1]))


def divides_by_zero(log_p, xt, *, alpha, prior):
    return (log_p.double() - _q(xt, alpha, prior, log_p.shape[-1]).log()).log_softmax(-1)


def takes_the_prior_of_the_candidate(log_p, xt, *, alpha, prior):
    a = alpha[:, None, None].double()
    q = a * F.one_hot(xt, log_p.shape[-1]) + (1 - a) * prior.double()
    return _safe(log_p, q).log_softmax(-1)


def one_alpha_for_all(log_p, xt, *, alpha, prior):
    return _safe(log_p, _q(xt, alpha[:1].expand_as(alpha), prior, log_p.shape[-1])).log_softmax(-1)


def returns_probabilities(log_p, xt, *, alpha, prior):
    return _safe(log_p, _q(xt, alpha, prior, log_p.shape[-1])).softmax(-1)


def in_single_precision(log_p, xt, *, alpha, prior):
    return _safe(log_p, _q(xt, alpha, prior, log_p.shape[-1])).log_softmax(-1).float()


def in_place(log_p, xt, *, alpha, prior):
    log_p -= _q(xt, alpha, prior, log_p.shape[-1]).clamp(min=1e-30).log()
    return log_p.log_softmax(-1)


MUTANTS = {
    multiplies: "do not multiply",
    leaves_it: "still knows its own token",
    divides_by_the_noise: "still knows",
    exchanges_alpha: "exchanged",
    strikes_the_token_out: "not the id",
    does_not_normalise: "log-distribution",
    divides_by_zero: "not 0 / 0",
    takes_the_prior_of_the_candidate: "nothing to take out",
    one_alpha_for_all: "random inputs",
    returns_probabilities: "log-distribution",
    in_single_precision: "dtype",
    in_place: "in place",
}


def right(log_p, xt, *, alpha, prior):
    return _safe(log_p, _q(xt, alpha, prior, log_p.shape[-1])).log_softmax(-1)


def right_by_cases(log_p, xt, *, alpha, prior):
    out = torch.empty(log_p.shape, dtype=torch.float64)
    for b, row in enumerate(xt.tolist()):
        for i, token in enumerate(row):
            q = torch.full((len(prior),), float((1 - alpha[b]) * prior[token]), dtype=torch.float64)
            q[token] += float(alpha[b])
            p = torch.where(q > 0, log_p[b, i].double().exp() / torch.where(q > 0, q, 1.0), 0.0)
            out[b, i] = (p / p.sum()).log()
    return out


RIGHT = [right, right_by_cases]
