"""Answers to exercise 16.3."""

import torch


def _grid(L, every):
    if every < 1:
        raise ValueError("no step")
    return torch.arange(L)[:, None], torch.arange(L)


def off_by_one(L, every, window=0, first=0):
    i, j = _grid(L, every)
    return (j <= i) & ((j % every == 0) | (i - j <= window) | (j < first))


def looks_ahead(L, every, window=0, first=0):
    i, j = _grid(L, every)
    return ((j + 1) % every == 0) | ((i - j).abs() <= window) | (j < first)


def not_itself(L, every, window=0, first=0):
    i, j = _grid(L, every)
    return (j <= i) & (((j + 1) % every == 0) | ((i - j <= window) & (i > j)) | (j < first))


def counts_from_the_query(L, every, window=0, first=0):
    i, j = _grid(L, every)
    return (j <= i) & (((i - j) % every == 0) | (i - j <= window) | (j < first))


def window_without_its_end(L, every, window=0, first=0):
    i, j = _grid(L, every)
    return (j <= i) & (((j + 1) % every == 0) | (i - j < max(window, 1)) | (j < first))


def both_rules(L, every, window=0, first=0):
    i, j = _grid(L, every)
    return (j <= i) & (((j + 1) % every == 0) & (i - j <= window) | (i == j) | (j < first))


def one_more_at_the_beginning(L, every, window=0, first=0):
    i, j = _grid(L, every)
    return (j <= i) & (((j + 1) % every == 0) | (i - j <= window) | (j < first + (first > 0)))


def no_beginning(L, every, window=0, first=0):
    i, j = _grid(L, every)
    return (j <= i) & (((j + 1) % every == 0) | (i - j <= window))


def queries_across(L, every, window=0, first=0):
    return right(L, every, window, first).T


def numbers(L, every, window=0, first=0):
    return right(L, every, window, first).float()


def refuses_nothing(L, every, window=0, first=0):
    return right(L, max(every, 1), window, first)


MUTANTS = {
    off_by_one: "off by one",
    looks_ahead: "causal",
    not_itself: "its own key",
    counts_from_the_query: "the same for all queries",
    window_without_its_end: "one before it",
    both_rules: "one rule is enough",
    one_more_at_the_beginning: "no more",
    no_beginning: "the keys 0 and 1",
    queries_across: "causal",
    numbers: "dtype",
    refuses_nothing: "ValueError",
}


def right(L, every, window=0, first=0):
    i, j = _grid(L, every)
    return (j <= i) & (((j + 1) % every == 0) | (i - j <= window) | (j < first))


def with_loops(L, every, window=0, first=0):
    if every <= 0:
        raise ValueError("every")
    mask = torch.zeros(L, L, dtype=torch.bool)
    for i in range(L):
        mask[i, : min(first, i + 1)] = True
        mask[i, max(0, i - window) : i + 1] = True
        for j in range(every - 1, i + 1, every):
            mask[i, j] = True
    return mask


RIGHT = [right, with_loops]
