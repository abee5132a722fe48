"""Answers to exercise 10.1."""

import torch


def _tau(scores, less=0):
    s = scores.sort(dim=-1, descending=True).values
    total, count = s.cumsum(-1), torch.arange(1, s.shape[-1] + 1)
    size = ((1 + count * s > total).sum(-1, keepdim=True) - less).clamp(min=1)
    return (total.gather(-1, size - 1) - 1) / size


def _project(scores, less=0):
    return (scores - _tau(scores, less)).clamp(min=0)


def takes_softmax(scores):
    return scores.softmax(-1)


def forgets_the_half(scores):
    return _project(scores / 2)


def divides_by_the_sum(scores):
    return scores.clamp(min=0) / scores.clamp(min=0).sum(-1, keepdim=True)


def gives_all_to_the_best(scores):
    return torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)


def lets_every_token_share(scores):
    tau = (scores.sum(-1, keepdim=True) - 1) / scores.shape[-1]
    return (scores - tau).clamp(min=0)


def lets_every_token_share_and_divides(scores):
    q = lets_every_token_share(scores)
    return q / q.sum(-1, keepdim=True)


def lets_shares_be_negative(scores):
    return scores - (scores.sum(-1, keepdim=True) - 1) / scores.shape[-1]


def does_not_sort(scores):
    total, count = scores.cumsum(-1), torch.arange(1, scores.shape[-1] + 1)
    size = (1 + count * scores > total).sum(-1, keepdim=True).clamp(min=1)
    return (scores - (total.gather(-1, size - 1) - 1) / size).clamp(min=0)


def returns_the_sorted(scores):
    return _project(scores).sort(dim=-1, descending=True).values


def takes_negative_scores_for_zeros(scores):
    return _project(scores.clamp(min=0))


def counts_one_too_few(scores):
    return _project(scores, less=1)


def over_all_rows(scores):
    return _project(scores.flatten()).view(scores.shape)


def the_tau_of_the_first_row(scores):
    flat = scores.reshape(-1, scores.shape[-1])
    return (scores - _tau(flat[:1])[0]).clamp(min=0)


def changes_the_scores(scores):
    q = _project(scores)
    scores.sub_(scores.max())
    return q


MUTANTS = {
    takes_softmax: "this is softmax",
    forgets_the_half: "half of it is asked for",
    divides_by_the_sum: "subtract, do not divide",
    gives_all_to_the_best: "is greedy",
    lets_every_token_share: "tokens that keep a share",
    lets_every_token_share_and_divides: "worked by hand",
    lets_shares_be_negative: "below 0",
    does_not_sort: "-1, 2, 1.5, 0.5",
    returns_the_sorted: "the result is sorted",
    takes_negative_scores_for_zeros: "scores below 0 are no zeros",
    counts_one_too_few: "tokens that keep a share",
    over_all_rows: "row by row",
    the_tau_of_the_first_row: "row by row",
    changes_the_scores: "in place",
}


def right(scores):
    return _project(scores)


def by_bisection(scores):
    low, high = scores.amax(-1, keepdim=True) - 1, scores.amax(-1, keepdim=True)
    for _ in range(70):
        tau = (low + high) / 2
        more = (scores - tau).clamp(min=0).sum(-1, keepdim=True) > 1
        low, high = torch.where(more, tau, low), torch.where(more, high, tau)
    return (scores - low).clamp(min=0)


def by_dropping_tokens(scores):
    keep = torch.ones_like(scores, dtype=torch.bool)
    for _ in range(scores.shape[-1]):
        tau = (scores.where(keep, torch.zeros_like(scores)).sum(-1, keepdim=True) - 1) / keep.sum(-1, keepdim=True)
        keep = keep & (scores > tau)
    return (scores - tau).clamp(min=0)


RIGHT = [right, by_bisection, by_dropping_tokens]
