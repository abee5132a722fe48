"""Answers to exercise 17.2."""

import torch


def _write(tell, x, forwards, flags=()):
    L = x.shape[1]
    if not 1 <= forwards <= L and "any number" not in flags:
        raise ValueError(forwards)
    if "place by place" in flags:
        forwards = L
    y, start = torch.full_like(x, 0 if "zeros" in flags else -1), 0
    for step in range(forwards):
        more = step >= forwards - L % forwards if "last ones" in flags else step < L % forwards
        stop = start + L // forwards + (more and "loses the rest" not in flags)
        logits = tell(x, torch.full_like(x, -1) if "blind" in flags else y.clone())
        best = logits.argmin(-1) if "least" in flags else logits.argmax(-1)
        first, last = (L - stop, L - start) if "right" in flags else (0 if "again" in flags else start, stop)
        y[:, first:last] = best[:, first:last]
        start = stop
    return y


def all_at_once(tell, x, forwards):
    return _write(tell, x, 1)


def one_by_one(tell, x, forwards):
    return _write(tell, x, forwards, ("place by place",))


def shows_nothing(tell, x, forwards):
    return _write(tell, x, forwards, ("blind",))


def from_the_right(tell, x, forwards):
    return _write(tell, x, forwards, ("right",))


def loses_the_rest(tell, x, forwards):
    return _write(tell, x, forwards, ("loses the rest",))


def the_rest_comes_last(tell, x, forwards):
    return _write(tell, x, forwards, ("last ones",))


def writes_again(tell, x, forwards):
    return _write(tell, x, forwards, ("again",))


def unknown_is_zero(tell, x, forwards):
    return _write(tell, x, forwards, ("zeros",))


def the_least_probable(tell, x, forwards):
    return _write(tell, x, forwards, ("least",))


def any_number_of_forwards(tell, x, forwards):
    return _write(tell, x, min(max(forwards, 1), x.shape[1]))


def returns_floats(tell, x, forwards):
    return _write(tell, x, forwards).float()


MUTANTS = {
    all_at_once: "was called 1 times",
    one_by_one: "was called 5 times",
    shows_nothing: "not shown what was written",
    from_the_right: "from the left",
    loses_the_rest: "left over",
    the_rest_comes_last: "the first forwards write one more",
    writes_again: "stays",
    unknown_is_zero: "unknown is -1",
    the_least_probable: "",
    any_number_of_forwards: "raise ValueError",
    returns_floats: "dtype",
}


def in_place(tell, x, forwards):
    return _write(tell, x, forwards)


def by_sizes(tell, x, forwards):
    L = x.shape[1]
    if forwards < 1 or forwards > L:
        raise ValueError("1 to L forwards")
    y, sizes = x.new_full(x.shape, -1), [len(part) for part in torch.arange(L).tensor_split(forwards)]
    for step in range(forwards):
        best, before = tell(x, y).argmax(-1), sum(sizes[:step])
        place = torch.arange(L)
        y = torch.where((place >= before) & (place < before + sizes[step]), best, y)
    return y


RIGHT = [in_place, by_sizes]
