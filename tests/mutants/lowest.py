"""Answers to exercise 4.1."""

import torch


def _mark(scores, k):
    removed = torch.zeros(scores.shape, dtype=torch.bool)
    return removed.scatter_(-1, scores.argsort(dim=-1, stable=True)[:, :k], True)


def _k(scores, sparsity):
    return int(scores.shape[-1] * sparsity + 1e-9)


def removes_the_highest(scores, sparsity):
    return _mark(-scores, _k(scores, sparsity))


def over_the_matrix(scores, sparsity):
    return _mark(scores.reshape(1, -1), int(scores.numel() * sparsity + 1e-9)).view(scores.shape)


def marks_what_stays(scores, sparsity):
    return ~_mark(scores, _k(scores, sparsity))


def by_magnitude(scores, sparsity):
    return _mark(scores.abs(), _k(scores, sparsity))


def with_a_threshold(scores, sparsity):
    k = _k(scores, sparsity)
    if k == 0:
        return torch.zeros(scores.shape, dtype=torch.bool)
    return scores <= scores.sort(-1).values[:, k - 1 : k]


def last_of_a_tie(scores, sparsity):
    return _mark(scores.flip(-1), _k(scores, sparsity)).flip(-1)


def rounds_up(scores, sparsity):
    return _mark(scores, -int(-scores.shape[-1] * sparsity // 1))


def forgets_floating_point(scores, sparsity):
    return _mark(scores, int(scores.shape[-1] * sparsity))


def returns_the_weights_left(scores, sparsity):
    return (~_mark(scores, _k(scores, sparsity))).float()


def assumes_square(scores, sparsity):
    rows = len(scores) if len(scores) > 2 else scores.shape[1]
    return _mark(scores, int(rows * sparsity + 1e-9))


def first_row_for_all(scores, sparsity):
    return _mark(scores[:1], _k(scores, sparsity)).repeat(len(scores), 1)


MUTANTS = {
    assumes_square: "on random scores",
    first_row_for_all: "half of each row",
    removes_the_highest: "not the highest",
    over_the_matrix: "per row",
    marks_what_stays: "not the highest",
    by_magnitude: "absolute",
    with_a_threshold: "tie",
    last_of_a_tie: "lower index",
    rounds_up: "round down",
    forgets_floating_point: "floating point",
    returns_the_weights_left: "dtype",
}


def row_by_row(scores, sparsity):
    removed = torch.zeros(scores.shape, dtype=torch.bool)
    k = int(round(scores.shape[1] * sparsity, 6))
    for r, row in enumerate(scores.tolist()):
        for c in sorted(range(len(row)), key=lambda i: (row[i], i))[:k]:
            removed[r, c] = True
    return removed


def by_rank(scores, sparsity):
    return scores.argsort(dim=-1, stable=True).argsort(dim=-1) < _k(scores, sparsity)


RIGHT = [row_by_row, by_rank]
