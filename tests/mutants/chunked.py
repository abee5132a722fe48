"""Answers to exercise 16.1."""

import torch


def _chunks(q, k, v, decay, size, since=0, until=0, read="before", ages=True, turned=False, ahead=False, flat=False):
    state, out = q.new_zeros(*q.shape[:-2], q.shape[-1], v.shape[-1]), []
    for Q, K, V in zip(q.split(size, -2), k.split(size, -2), v.split(size, -2), strict=True):
        n = Q.shape[-2]
        at = torch.arange(n, dtype=q.dtype)
        weights = torch.ones(n, n, dtype=q.dtype) if flat else decay ** (at[:, None] - at).abs()
        here = (Q @ K.mT * (weights if ahead else weights.tril())) @ V
        age = at if turned else n - 1 - at
        new = (decay**n if ages else 1) * state + ((decay ** (age + until))[:, None] * K).mT @ V
        seen = {"before": state, "after": new, "never": 0 * state}[read]
        out.append(here + (decay ** (at + 1 + since))[:, None] * (Q @ seen))
        state = new
    return torch.cat(out, -2)


def forgets_the_state(q, k, v, decay=1.0, size=64):
    return _chunks(q, k, v, decay, size, read="never")


def reads_a_young_state(q, k, v, decay=1.0, size=64):
    return _chunks(q, k, v, decay, size, since=-1)


def the_state_never_ages(q, k, v, decay=1.0, size=64):
    return _chunks(q, k, v, decay, size, ages=False)


def old_keys(q, k, v, decay=1.0, size=64):
    return _chunks(q, k, v, decay, size, until=1)


def ages_the_wrong_way(q, k, v, decay=1.0, size=64):
    return _chunks(q, k, v, decay, size, turned=True)


def counts_the_chunk_twice(q, k, v, decay=1.0, size=64):
    return _chunks(q, k, v, decay, size, read="after")


def looks_ahead(q, k, v, decay=1.0, size=64):
    return _chunks(q, k, v, decay, size, ahead=True)


def no_fading_inside(q, k, v, decay=1.0, size=64):
    return _chunks(q, k, v, decay, size, flat=True)


def drops_the_last_chunk(q, k, v, decay=1.0, size=64):
    whole = max(1, q.shape[-2] // size) * size
    return _chunks(q[..., :whole, :], k[..., :whole, :], v[..., :whole, :], decay, size)


def negative_powers(q, k, v, decay=1.0, size=64):
    at = torch.arange(q.shape[-2], dtype=torch.float32)[:, None]
    scores = (q.float() * decay**at) @ (k.float() * decay**-at).mT
    return (scores.tril() @ v.float()).to(v.dtype)


def in_float32(q, k, v, decay=1.0, size=64):
    return _chunks(q.float(), k.float(), v.float(), decay, size)


def writes_into_k(q, k, v, decay=1.0, size=64):
    out = _chunks(q, k, v, decay, size)
    k *= decay
    return out


def returns_nothing(q, k, v, decay=1.0, size=64):
    _chunks(q, k, v, decay, size)


MUTANTS = {
    forgets_the_state: "before the chunk is lost",
    reads_a_young_state: "one step old at the first token",
    the_state_never_ages: "the state itself ages",
    old_keys: "0 steps old at its end",
    ages_the_wrong_way: "the youngest",
    counts_the_chunk_twice: "counted twice",
    looks_ahead: "not what comes after",
    no_fading_inside: "fade with the distance",
    drops_the_last_chunk: "shape",
    negative_powers: "random inputs",
    in_float32: "dtype",
    writes_into_k: "in place",
    returns_nothing: "return statement",
}


def right(q, k, v, decay=1.0, size=64):
    return _chunks(q, k, v, decay, size)


def token_by_token(q, k, v, decay=1.0, size=64):
    state, out = 0, []
    for t in range(q.shape[-2]):
        state = decay * state + k[..., t, :, None] * v[..., t, None, :]
        out.append((q[..., t, None, :] @ state)[..., 0, :])
    return torch.stack(out, -2)


RIGHT = [right, token_by_token]
