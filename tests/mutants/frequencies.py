"""Answers to exercise 15.1."""

import torch


def _room(bits, allowed):
    n = int(allowed.sum())
    if n > 2**bits:
        raise ValueError("no room")
    return n, 2**bits


def _rest(f, p, total):
    return f.scatter_add(-1, p.argmax(-1, keepdim=True), total - f.sum(-1, keepdim=True))


def _floors(p, bits, allowed):
    n, total = _room(bits, allowed)
    p = torch.where(allowed, p.double(), 0.0)
    return p, torch.where(allowed, 1 + (p * (total - n)).floor().long(), 0), total


def plain_rounding(p, bits, allowed):
    _room(bits, allowed)
    return (torch.where(allowed, p.double(), 0.0) * 2**bits).round().long()


def floor_without_the_one(p, bits, allowed):
    _room(bits, allowed)
    p = torch.where(allowed, p.double(), 0.0)
    return _rest((p * 2**bits).floor().long(), p, 2**bits)


def leaves_the_rest(p, bits, allowed):
    return _floors(p, bits, allowed)[1]


def at_least_one_after_all(p, bits, allowed):
    _room(bits, allowed)
    return (p.double() * 2**bits).floor().long().clamp(min=1)


def one_for_all(p, bits, allowed):
    _room(bits, allowed)
    n, total = len(allowed), 2**bits
    p = torch.where(allowed, p.double(), 0.0)
    return _rest(1 + (p * (total - n)).floor().long(), p, total)


def takes_from_the_largest(p, bits, allowed):
    _room(bits, allowed)
    p = torch.where(allowed, p.double(), 0.0)
    f = torch.where(allowed, (p * 2**bits).floor().long().clamp(min=1), 0)
    return _rest(f, p, 2**bits)


def rest_to_the_first(p, bits, allowed):
    _, f, total = _floors(p, bits, allowed)
    f[..., int(allowed.int().argmax())] += total - f.sum(-1)
    return f


def rest_to_the_last(p, bits, allowed):
    _, f, total = _floors(p, bits, allowed)
    f[..., int(allowed.nonzero()[-1])] += total - f.sum(-1)
    return f


def last_of_equals(p, bits, allowed):
    p, f, total = _floors(p, bits, allowed)
    at = p.shape[-1] - 1 - p.flip(-1).argmax(-1, keepdim=True)
    return f.scatter_add(-1, at, total - f.sum(-1, keepdim=True))


def rest_to_what_is_forbidden(p, bits, allowed):
    _, f, total = _floors(p, bits, allowed)
    return _rest(f, p.double(), total)


def in_float32(p, bits, allowed):
    n, total = _room(bits, allowed)
    p = torch.where(allowed, p.float(), 0.0)
    return _rest(torch.where(allowed, 1 + (p * (total - n)).floor().long(), 0), p, total)


def returns_floats(p, bits, allowed):
    p, f, total = _floors(p, bits, allowed)
    return _rest(f, p, total).double()


def one_row_only(p, bits, allowed):
    p, f, total = _floors(p, bits, allowed)
    f[..., int(p.reshape(-1, p.shape[-1])[0].argmax())] += total - f.sum(-1)
    return f


def refuses_nothing(p, bits, allowed):
    n, total = int(allowed.sum()), 2**bits
    p = torch.where(allowed, p.double(), 0.0)
    return _rest(torch.where(allowed, 1 + (p * (total - n)).floor().long(), 0), p, total)


def writes_into_p(p, bits, allowed):
    p[..., ~allowed] = 0
    p, f, total = _floors(p, bits, allowed)
    return _rest(f, p, total)


MUTANTS = {
    plain_rounding: "cannot be written",
    floor_without_the_one: "cannot be written",
    leaves_the_rest: "go astray",
    at_least_one_after_all: "go astray",
    one_for_all: "not allowed has more than 0",
    takes_from_the_largest: "its 1 first",
    rest_to_the_first: "most probable symbol",
    rest_to_the_last: "the most probable symbol",
    last_of_equals: "lower id",
    rest_to_what_is_forbidden: "forbidden symbol",
    in_float32: "bits",
    returns_floats: "dtype",
    one_row_only: "to the last one",
    refuses_nothing: "ValueError",
    writes_into_p: "in place",
}


def right(p, bits, allowed):
    p, f, total = _floors(p, bits, allowed)
    return _rest(f, p, total)


def with_a_loop(p, bits, allowed):
    n, total = _room(bits, allowed)
    p = torch.where(allowed, p.double(), 0.0)
    f = torch.where(allowed, (p * (total - n)).long() + 1, 0)
    for row, q in zip(f.view(-1, f.shape[-1]), p.reshape(-1, p.shape[-1]), strict=True):
        row[q.argmax()] += total - row.sum()
    return f


RIGHT = [right, with_a_loop]
