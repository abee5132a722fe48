"""Answers to exercise 11.2."""

import torch


def _q(alpha, V):
    a = alpha.double()
    return a, a + (1 - a) / V, (1 - a) / V


def forgets_the_one(alpha, V):
    a, _, _ = _q(alpha, V)
    return (a * V / (1 - a)).log()


def a_ratio(alpha, V):
    _, same, other = _q(alpha, V)
    return same / other


def a_ratio_without_the_one(alpha, V):
    a, _, _ = _q(alpha, V)
    return a * V / (1 - a)


def upside_down(alpha, V):
    _, same, other = _q(alpha, V)
    return (other / same).log()


def without_the_vocabulary(alpha, V):
    a, _, _ = _q(alpha, V)
    return (1 + a / (1 - a)).log()


def exchanged(alpha, V):
    a, _, _ = _q(alpha, V)
    return (1 + (1 - a) * V / a).log()


def another_token_only(alpha, V):
    a, _, _ = _q(alpha, V)
    return torch.log1p(a * (V - 1) / (1 - a))


def in_bits(alpha, V):
    _, same, other = _q(alpha, V)
    return (same / other).log2()


def log_odds(alpha, V):
    a, _, _ = _q(alpha, V)
    return (a / (1 - a)).log()


def noise_without_its_share(alpha, V):
    a, same, _ = _q(alpha, V)
    return (same / (1 - a)).log()


def agreement_alone(alpha, V):
    return _q(alpha, V)[1].log()


def disagreement_alone(alpha, V):
    return -_q(alpha, V)[2].log()


def times_alpha(alpha, V):
    a, same, other = _q(alpha, V)
    return a * (same / other).log()


def rounds_to_one(alpha, V):
    a, _, _ = _q(alpha, V)
    return (1 + a * V / (1 - a)).float().log().double()


def never_infinite(alpha, V):
    a, _, _ = _q(alpha, V)
    return torch.log1p(a * V / (1 - a).clamp(min=1e-9))


def never_zero(alpha, V):
    a = alpha.double().clamp(min=1e-3)
    return torch.log1p(a * V / (1 - a))


def in_place(alpha, V):
    alpha.clamp_(1e-9, 1 - 1e-9)
    return torch.log1p(alpha.double() * V / (1 - alpha.double()))


MUTANTS = {
    forgets_the_one: "the 1 is missing",
    a_ratio: "not yet a logarithm",
    a_ratio_without_the_one: "without its 1",
    upside_down: "upside down",
    without_the_vocabulary: "V is missing",
    exchanged: "exchanged",
    another_token_only: "V - 1",
    in_bits: "log2",
    log_odds: "the vocabulary is missing",
    noise_without_its_share: "for each id",
    agreement_alone: "agreement alone",
    disagreement_alone: "disagreement alone",
    times_alpha: "multiplied by alpha",
    rounds_to_one: "rounded to 1",
    never_infinite: "beta is inf",
    never_zero: "beta is 0",
    in_place: "in place",
}


def a_difference_of_logarithms(alpha, V):
    a = alpha.double()
    return torch.log1p(a * (V - 1)) - torch.log1p(-a)


def by_log1p(alpha, V):
    a = alpha.to(torch.float64)
    return (V * a / (1 - a)).log1p()


RIGHT = [a_difference_of_logarithms, by_log1p]
