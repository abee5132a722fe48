"""Answers to exercise 10.2."""

import torch


def _first(p):
    return torch.zeros_like(p).scatter(-1, p.argmax(-1, keepdim=True), 1.0)


def _fill(p, K, power=None, less=0):
    r = p ** (-1 / (K - 1) if power is None else power)
    s = r.sort(dim=-1).values
    u = torch.arange(p.shape[-1]) / s.cumsum(-1)
    n = ((u * s < 1).sum(-1, keepdim=True) - less).clamp(min=1)
    return torch.where(p > 0, 1 - u.gather(-1, n - 1) * r, 0.0).clamp(min=0).to(p)


def returns_p(p, K):
    return p.clone()


def sharpens(p, K):
    return p**K / (p**K).sum(-1, keepdim=True)


def flattens(p, K):
    q = p ** (1 / K)
    return q / q.sum(-1, keepdim=True)


def stays_greedy(p, K):
    return _first(p)


def shares_alike(p, K):
    return torch.full_like(p, 1 / p.shape[-1])


def lets_every_token_share(p, K):
    r = p ** (-1 / max(K - 1, 1))
    return (1 - (p.shape[-1] - 1) / r.sum(-1, keepdim=True) * r).clamp(min=0)


def lets_every_token_share_and_divides(p, K):
    q = lets_every_token_share(p, K)
    return q / q.sum(-1, keepdim=True)


def lets_shares_be_negative(p, K):
    r = p ** (-1 / max(K - 1, 1))
    return 1 - (p.shape[-1] - 1) / r.sum(-1, keepdim=True) * r


def takes_the_exponent_of_two(p, K):
    return _first(p) if K == 1 else _fill(p, 2)


def takes_one_over_k(p, K):
    return _first(p) if K == 1 else _fill(p, K, power=-1 / K)


def returns_the_sorted(p, K):
    return (_first(p) if K == 1 else _fill(p, K)).sort(dim=-1, descending=True).values


def one_draw_from_p(p, K):
    return p.clone() if K == 1 else _fill(p, K)


def divides_by_zero(p, K):
    return (_first(p) if K == 1 else _fill(p, K)).where(p > 0, torch.full_like(p, torch.nan))


def last_of_a_tie(p, K):
    return _first(p.flip(-1)).flip(-1) if K == 1 else _fill(p, K)


def counts_one_too_few(p, K):
    return _first(p) if K == 1 else _fill(p, K, less=1)


def over_all_rows(p, K):
    return (_first(p) if K == 1 else _fill(p.flatten() / p.sum(), K)).view(p.shape)


def changes_p(p, K):
    q = _first(p) if K == 1 else _fill(p, K)
    p.mul_(0.5)
    return q


MUTANTS = {
    returns_p: "this is p itself",
    sharpens: "sharpens",
    flattens: "the flattened p",
    stays_greedy: "right for one draw only",
    shares_alike: "the limit of many draws",
    lets_every_token_share: "tokens that get a share",
    lets_every_token_share_and_divides: "worked by hand",
    lets_shares_be_negative: "below 0",
    takes_the_exponent_of_two: "the exponent is",
    takes_one_over_k: "worked by hand",
    returns_the_sorted: "p is not sorted",
    one_draw_from_p: "one draw",
    divides_by_zero: "NaN",
    last_of_a_tie: "of equals on the first",
    counts_one_too_few: "tokens that get a share",
    over_all_rows: "row by row",
    changes_p: "in place",
}


def right(p, K):
    return _first(p) if K == 1 else _fill(p, K)


def by_bisection(p, K):
    if K == 1:
        return _first(p)
    low, high = torch.zeros_like(p[..., :1]), p.amax(-1, keepdim=True)
    for _ in range(200):
        c = (low + high) / 2
        q = torch.where(p > 0, 1 - (c / p) ** (1 / (K - 1)), 0.0).clamp(min=0)
        more = q.sum(-1, keepdim=True) > 1
        low, high = torch.where(more, c, low), torch.where(more, high, c)
    return torch.where(p > 0, 1 - (high / p) ** (1 / (K - 1)), 0.0).clamp(min=0)


RIGHT = [right, by_bisection]
