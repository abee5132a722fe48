"""Answers to exercise 1.4."""

import torch

INF = float("inf")


def _best(score, eligible):
    best = score.masked_fill(~eligible, -INF).argmax(-1, keepdim=True)
    return torch.zeros_like(eligible).scatter_(-1, best, True) & eligible


def strict_threshold(score, eligible, tau):
    return ((score > tau) & eligible) | _best(score, eligible)


def forgets_the_best(score, eligible, tau):
    return (score >= tau) & eligible


def takes_only_the_best(score, eligible, tau):
    return _best(score, eligible)


def takes_the_two_best(score, eligible, tau):
    best = _best(score, eligible)
    return ((score >= tau) & eligible) | best | _best(score, eligible & ~best)


def best_of_the_batch(score, eligible, tau):
    best = score.masked_fill(~eligible, -INF).flatten().argmax()
    take = ((score >= tau) & eligible).flatten()
    take[best] = True
    return take.view(score.shape)


def best_only_when_the_batch_has_none(score, eligible, tau):
    take = (score >= tau) & eligible
    return take if take.any() else _best(score, eligible)


def takes_what_is_not_eligible(score, eligible, tau):
    return (score >= tau) | _best(score, eligible)


def takes_a_best_that_is_not_eligible(score, eligible, tau):
    best = torch.zeros_like(eligible).scatter_(-1, score.argmax(-1, keepdim=True), True)
    return ((score >= tau) & eligible) | best


def looks_for_the_best_everywhere(score, eligible, tau):
    best = torch.zeros_like(eligible).scatter_(-1, score.argmax(-1, keepdim=True), True)
    return ((score >= tau) | best) & eligible


def fills_with_0(score, eligible, tau):
    best = torch.zeros_like(eligible).scatter_(-1, (score * eligible).argmax(-1, keepdim=True), True)
    return ((score >= tau) | best) & eligible


def takes_all_that_tie(score, eligible, tau):
    open_score = score.masked_fill(~eligible, -INF)
    return ((score >= tau) | (open_score == open_score.amax(-1, keepdim=True))) & eligible


def last_of_a_tie(score, eligible, tau):
    return ((score >= tau) & eligible) | _best(score.flip(-1), eligible.flip(-1)).flip(-1)


def commits_in_finished_rows(score, eligible, tau):
    best = score.masked_fill(~eligible, -INF).argmax(-1, keepdim=True)
    return ((score >= tau) & eligible).scatter(-1, best, True)


def writes_into_score(score, eligible, tau):
    score[~eligible] = -INF
    return (score >= tau) | _best(score, eligible)


def returns_numbers(score, eligible, tau):
    return (((score >= tau) & eligible) | _best(score, eligible)).float()


def takes_nothing(score, eligible, tau):
    return torch.zeros_like(eligible)


def stalls_on_the_last_position(score, eligible, tau):
    several = eligible.sum(-1, keepdim=True) > 1
    return ((score >= tau) & eligible) | (_best(score, eligible) & several)


def rounds_the_scores(score, eligible, tau):
    return ((score >= round(tau, 1)) & eligible) | _best(score, eligible)


def takes_tau_for_positive(score, eligible, tau):
    return ((score >= abs(tau)) & eligible) | _best(score, eligible)


MUTANTS = {
    strict_threshold: ">= tau, not > tau",
    forgets_the_best: "nothing is taken",
    takes_only_the_best: "every score >= tau",
    takes_the_two_best: "the one best of each row",
    best_of_the_batch: "per row",
    best_only_when_the_batch_has_none: "per row",
    takes_what_is_not_eligible: "not eligible was taken",
    takes_a_best_that_is_not_eligible: "not eligible was taken",
    looks_for_the_best_everywhere: "among the eligible",
    fills_with_0: "negative",
    takes_all_that_tie: "tie",
    last_of_a_tie: "tie",
    commits_in_finished_rows: "not eligible was taken",
    writes_into_score: "in place",
    returns_numbers: "dtype",
    takes_nothing: "every score >= tau",
    stalls_on_the_last_position: "random inputs",
    rounds_the_scores: "random inputs",
    takes_tau_for_positive: "random inputs",
}


def row_by_row(score, eligible, tau):
    take = torch.zeros_like(eligible)
    for b in range(len(score)):
        columns = eligible[b].nonzero()[:, 0].tolist()
        if columns:
            take[b, max(columns, key=lambda i: score[b, i].item())] = True
        for i in columns:
            take[b, i] |= bool(score[b, i] >= tau)
    return take


def filled_then_compared(score, eligible, tau):
    open_score = torch.where(eligible, score, -INF)
    best = torch.nn.functional.one_hot(open_score.argmax(-1), score.shape[-1]).bool() & eligible
    return (open_score >= tau) | best


def best_where_none_passes(score, eligible, tau):
    take = (score >= tau) & eligible
    return torch.where(take.any(-1, keepdim=True), take, _best(score, eligible))


RIGHT = [row_by_row, filled_then_compared, best_where_none_passes]
