"""Answers to exercise 8.7."""

import torch


def _same(drafted, ruled):
    return (drafted == ruled[:, :-1]).all(-1)


def guesses_only(drafted, ruled):
    return _same(drafted, ruled).int().cumprod(1).sum(1)


def first_state_may_fail(drafted, ruled):
    right = _same(drafted, ruled).int().cumprod(1).sum(1)
    return torch.where((right == 0) & (drafted.shape[1] > 0), 0, right + 1)


def tokens_only(drafted, ruled):
    return 1 + (drafted == ruled[:, :-1])[..., 1].int().cumprod(1).sum(1)


def positions_only(drafted, ruled):
    return 1 + (drafted == ruled[:, :-1])[..., 0].int().cumprod(1).sum(1)


def position_or_token(drafted, ruled):
    return 1 + (drafted == ruled[:, :-1]).any(-1).int().cumprod(1).sum(1)


def every_right_guess(drafted, ruled):
    return 1 + _same(drafted, ruled).sum(1)


def up_to_the_last_right_guess(drafted, ruled):
    place = torch.arange(drafted.shape[1] + 1)
    first = torch.ones(len(ruled), 1, dtype=torch.bool)
    return 1 + (torch.cat([first, _same(drafted, ruled)], 1) * place).amax(1)


def all_or_one(drafted, ruled):
    return torch.where(_same(drafted, ruled).all(1), ruled.shape[1], 1)


def one_too_many_at_a_refusal(drafted, ruled):
    return (2 + _same(drafted, ruled).int().cumprod(1).sum(1)).clamp(max=ruled.shape[1])


def the_shortest_row_for_all(drafted, ruled):
    count = 1 + _same(drafted, ruled).int().cumprod(1).sum(1)
    return count.amin().expand(len(count)).clone()


def compares_with_the_next_state(drafted, ruled):
    return 1 + (drafted == ruled[:, 1:]).all(-1).int().cumprod(1).sum(1)


def a_mean(drafted, ruled):
    return 1.0 + _same(drafted, ruled).int().cumprod(1).sum(1)


def returns_nothing(drafted, ruled):
    _same(drafted, ruled)


MUTANTS = {
    guesses_only: "counts as well",
    first_state_may_fail: "first state is the true one",
    tokens_only: "right token at another position",
    positions_only: "another token",
    position_or_token: "right token at another position",
    every_right_guess: "a text that the rule never had",
    up_to_the_last_right_guess: "a text that the rule never had",
    all_or_one: "right token at another position",
    one_too_many_at_a_refusal: "a text that the rule never had",
    the_shortest_row_for_all: "a count of its own",
    compares_with_the_next_state: "four commits of the rule",
    a_mean: "dtype",
    returns_nothing: "return statement",
}


def by_hand(drafted, ruled):
    counts = []
    for guesses, rule in zip(drafted.tolist(), ruled.tolist(), strict=True):
        n = 1
        while n < len(rule) and guesses[n - 1] == rule[n - 1]:
            n += 1
        counts.append(n)
    return torch.tensor(counts, dtype=torch.long)


def first_wrong(drafted, ruled):
    wrong = (drafted != ruled[:, :-1]).any(-1)
    end = torch.ones(len(wrong), 1, dtype=torch.bool)
    return torch.cat([wrong, end], 1).int().argmax(1) + 1


RIGHT = [by_hand, first_wrong]
