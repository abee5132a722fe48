"""Answers to exercise 4.3."""

import torch


def _solve(W, removed, G, target):
    out = torch.zeros(W.shape, dtype=torch.float64)
    for r in range(len(W)):
        K = ~removed[r]
        out[r, K] = torch.linalg.solve(G[K][:, K], target[r, K])
    return out.to(W.dtype)


def _damped(gram, damp):
    return gram.double() + damp * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)


def only_masks(W, removed, gram, *, damp=0.01):
    return W.masked_fill(removed, 0.0)


def target_of_the_pruned(W, removed, gram, *, damp=0.01):
    G = _damped(gram, damp)
    return _solve(W, removed, G, W.masked_fill(removed, 0.0).double() @ G)


def ridge_towards_zero(W, removed, gram, *, damp=0.01):
    return _solve(W, removed, _damped(gram, damp), W.double() @ gram.double())


def ridge_not_relative(W, removed, gram, *, damp=0.01):
    G = gram.double() + damp * torch.eye(len(gram), dtype=torch.float64)
    return _solve(W, removed, G, W.double() @ G)


def forgets_the_ridge(W, removed, gram, *, damp=0.01):
    return _solve(W, removed, gram.double(), W.double() @ gram.double())


def inverts_first(W, removed, gram, *, damp=0.01):
    G = _damped(gram, damp)
    inverse, target, out = torch.linalg.inv(G), W.double() @ G, torch.zeros(W.shape, dtype=torch.float64)
    for r in range(len(W)):
        K = ~removed[r]
        out[r, K] = inverse[K][:, K] @ target[r, K]
    return out.to(W.dtype)


def fills_what_was_removed(W, removed, gram, *, damp=0.01):
    return _solve(W, ~removed, _damped(gram, damp), W.double() @ _damped(gram, damp))


def diagonal_only(W, removed, gram, *, damp=0.01):
    G = _damped(gram, damp)
    return ((W.double() @ G) / G.diagonal()).masked_fill(removed, 0.0).to(W.dtype)


def float64_result(W, removed, gram, *, damp=0.01):
    G = _damped(gram, damp)
    return _solve(W.double(), removed, G, W.double() @ G)


def wide_only(W, removed, gram, *, damp=0.01):
    out = _solve(W, removed, _damped(gram, damp), W.double() @ _damped(gram, damp))
    return out if len(W) < W.shape[1] else W.masked_fill(removed, 0.0)


MUTANTS = {
    wide_only: "a random mask",
    only_masks: "did not change",
    target_of_the_pruned: "did not change",
    ridge_towards_zero: "pulls towards the old",
    ridge_not_relative: "mean of the diagonal",
    forgets_the_ridge: "mean of the diagonal",
    inverts_first: "not the least-squares",
    fills_what_was_removed: "exactly 0",
    diagonal_only: "must stay as it is",
    float64_result: "dtype",
}


def row_by_row(W, removed, gram, *, damp=0.01):
    G = _damped(gram, damp)
    return _solve(W, removed, G, W.double() @ G)


def as_a_correction(W, removed, gram, *, damp=0.01):
    G, out = _damped(gram, damp), W.double().clone()
    for r in range(len(W)):
        gone, K = removed[r], ~removed[r]
        out[r, K] += torch.linalg.solve(G[K][:, K], G[K][:, gone] @ out[r, gone])
        out[r, gone] = 0
    return out.to(W.dtype)


RIGHT = [row_by_row, as_a_correction]
