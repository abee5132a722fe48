"""Answers to exercise 5.2."""

import torch


def returns_a_copy(W, j, rounded, U):
    W = W.clone()
    outer(W, j, rounded, U)
    return W


def repairs_to_the_left_too(W, j, rounded, U):
    error = (W[:, j] - rounded) / U[j, j]
    factor = (U + U.T)[j].clone()
    factor[j] = 0
    W -= error[:, None] * factor
    W[:, j] = rounded


def leaves_column_j(W, j, rounded, U):
    W[:, j + 1 :] -= ((W[:, j] - rounded) / U[j, j])[:, None] * U[j, j + 1 :]


def rounds_only(W, j, rounded, U):
    W[:, j] = rounded


def with_the_wrong_sign(W, j, rounded, U):
    error = (W[:, j] - rounded) / U[j, j]
    W[:, j] = rounded
    W[:, j + 1 :] += error[:, None] * U[j, j + 1 :]


def undivided(W, j, rounded, U):
    error = W[:, j] - rounded
    W[:, j] = rounded
    W[:, j + 1 :] -= error[:, None] * U[j, j + 1 :]


def divided_twice(W, j, rounded, U):
    error = (W[:, j] - rounded) / U[j, j] ** 2
    W[:, j] = rounded
    W[:, j + 1 :] -= error[:, None] * U[j, j + 1 :]


def mean_error(W, j, rounded, U):
    error = (W[:, j] - rounded) / U[j, j]
    W[:, j] = rounded
    W[:, j + 1 :] -= error.mean() * U[j, j + 1 :]


def the_column_of_U(W, j, rounded, U):
    error = (W[:, j] - rounded) / U[j, j]
    W[:, j] = rounded
    W[:, j + 1 :] -= error[:, None] * U[j + 1 :, j]


def error_after_rounding(W, j, rounded, U):
    W[:, j] = rounded
    error = (W[:, j] - rounded) / U[j, j]
    W[:, j + 1 :] -= error[:, None] * U[j, j + 1 :]


def next_column_only(W, j, rounded, U):
    error = (W[:, j] - rounded) / U[j, j]
    W[:, j] = rounded
    W[:, j + 1 : j + 2] -= error[:, None] * U[j, j + 1 : j + 2]


def eight_columns_only(W, j, rounded, U):
    error = (W[:, j] - rounded) / U[j, j]
    W[:, j] = rounded
    W[:, j + 1 : j + 9] -= error[:, None] * U[j, j + 1 : j + 9]


MUTANTS = {
    returns_a_copy: "in place",
    repairs_to_the_left_too: "to the left",
    leaves_column_j: "takes its rounded values",
    rounds_only: "did not change",
    with_the_wrong_sign: "sign",
    undivided: "not divided",
    divided_twice: "not by its square",
    mean_error: "error of its own",
    the_column_of_U: "did not change",
    error_after_rounding: "did not change",
    next_column_only: "random inputs",
    eight_columns_only: "random inputs",
}


def outer(W, j, rounded, U):
    error = (W[:, j] - rounded) / U[j, j]
    W[:, j] = rounded
    W[:, j + 1 :] -= torch.outer(error, U[j, j + 1 :])


def from_the_diagonal_on(W, j, rounded, U):
    W[:, j:] -= ((W[:, j] - rounded) / U[j, j])[:, None] * U[j, j:]
    W[:, j] = rounded


def weight_by_weight(W, j, rounded, U):
    for row, q in zip(W, rounded.tolist(), strict=True):
        error = (float(row[j]) - q) / float(U[j, j])
        row[j] = q
        for k in range(j + 1, len(row)):
            row[k] -= error * float(U[j, k])


RIGHT = [outer, from_the_diagonal_on, weight_by_weight]
