"""Answers to exercise 18.2."""

import torch


def nothing(W, heads):
    return W.clone()


def the_other_way(W, heads):
    return W.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def over_all_heads(W, heads):
    return W.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)


def second_first(W, heads):
    return W.unflatten(0, (heads, 2, -1)).flip(1).transpose(1, 2).flatten(0, 2)


def heads_turned(W, heads):
    return right(W.unflatten(0, (heads, -1)).flip(0).flatten(0, 1), heads)


def columns(W, heads):
    if W.shape[1] % 2:
        return right(W, heads)
    return right(W, heads).unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


def two_heads_only(W, heads):
    return right(W, min(heads, 2)) if len(W) % 4 == 0 else right(W, heads)


def keeps_the_first_head(W, heads):
    out = right(W, heads)
    if heads > 2:
        out[: len(W) // heads] = W[: len(W) // heads]
    return out


def in_double(W, heads):
    return right(W, heads).double()


def in_place(W, heads):
    W.copy_(right(W, heads))
    return W


def three_axes(W, heads):
    return right(W, heads).unflatten(0, (heads, -1))


MUTANTS = {
    nothing: "nothing moved",
    the_other_way: "the other way round",
    over_all_heads: "each head by itself",
    second_first: "first half comes first",
    heads_turned: "heads changed places",
    columns: "columns stay",
    two_heads_only: "heads of",
    keeps_the_first_head: "heads of",
    in_double: "dtype",
    in_place: "in place",
    three_axes: "shape",
}


def right(W, heads):
    return W.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def with_loops(W, heads):
    out, d = torch.empty_like(W), len(W) // heads
    for h in range(heads):
        for i in range(d // 2):
            out[h * d + 2 * i] = W[h * d + i]
            out[h * d + 2 * i + 1] = W[h * d + d // 2 + i]
    return out


def by_slices(W, heads):
    out = torch.empty_like(W).unflatten(0, (heads, -1))
    first, second = W.unflatten(0, (heads, -1)).chunk(2, 1)
    out[:, 0::2], out[:, 1::2] = first, second
    return out.flatten(0, 1)


RIGHT = [right, with_loops, by_slices]
