"""Answers to exercise 6.2."""

import numpy as np


def _loop(best, nats, sizes, *, fits=lambda size, b: size <= b, better=lambda x, y: x < y, start=np.inf, none=-1):
    new, chosen = np.full(len(best), start), np.full(len(best), none)
    for b in range(len(best)):
        for o, (loss, size) in enumerate(zip(nats, sizes, strict=True)):
            if fits(size, b) and better(best[b - size] + loss, new[b]):
                new[b], chosen[b] = best[b - size] + loss, o
    return new, chosen


def takes_the_maximum(best, nats, sizes):
    new, chosen = _loop(best, nats, sizes, better=lambda x, y: x > y, start=-np.inf)
    return np.where(chosen < 0, np.inf, new), chosen


def may_leave_the_place_out(best, nats, sizes):
    new, chosen = _loop(best, nats, sizes)
    return np.minimum(best, new), np.where(best < new, -1, chosen)


def needs_a_unit_to_spare(best, nats, sizes):
    return _loop(best, nats, sizes, fits=lambda size, b: size < b)


def calls_nothing_option_0(best, nats, sizes):
    return _loop(best, nats, sizes, none=0)


def the_last_of_equals(best, nats, sizes):
    return _loop(best, nats, sizes, better=lambda x, y: x <= y and x < np.inf)


def forgets_the_places_before(best, nats, sizes):
    return _loop(np.zeros(len(best)), nats, sizes)


def forgets_the_option(best, nats, sizes):
    return _loop(best, [0.0] * len(nats), sizes)


def takes_no_units_away(best, nats, sizes):
    new, chosen = np.full(len(best), np.inf), np.full(len(best), -1)
    for b in range(len(best)):
        for o, (loss, size) in enumerate(zip(nats, sizes, strict=True)):
            if size <= b and best[b] + loss < new[b]:
                new[b], chosen[b] = best[b] + loss, o
    return new, chosen


def reads_what_it_wrote(best, nats, sizes):
    new, chosen = best.copy(), np.full(len(best), -1)
    for b in range(len(best)):
        sums = [new[b - size] + loss if size <= b else np.inf for loss, size in zip(nats, sizes, strict=True)]
        new[b] = min(sums)
        chosen[b] = -1 if new[b] == np.inf else sums.index(new[b])
    return new, chosen


def one_option_for_all_units(best, nats, sizes):
    o = int(np.argmin(nats))
    new, chosen = _loop(best, [nats[o]], [sizes[o]])
    return new, np.where(chosen < 0, -1, o)


def the_smallest_option(best, nats, sizes):
    o = int(np.argmin(sizes))
    new, chosen = _loop(best, [nats[o]], [sizes[o]])
    return new, np.where(chosen < 0, -1, o)


def writes_into_best(best, nats, sizes):
    new, chosen = _loop(best.copy(), nats, sizes)
    best[:] = new
    return new, chosen


def returns_the_losses_only(best, nats, sizes):
    return _loop(best, nats, sizes)[0]


def returns_lists(best, nats, sizes):
    new, chosen = _loop(best, nats, sizes)
    return new.tolist(), chosen.tolist()


MUTANTS = {
    takes_the_maximum: "not a maximum",
    may_leave_the_place_out: "leaving the place out",
    needs_a_unit_to_spare: "not <",
    calls_nothing_option_0: "the option is -1",
    the_last_of_equals: "the first option",
    forgets_the_places_before: "best[b - sizes[o]]",
    forgets_the_option: "a loss of its own",
    takes_no_units_away: "takes its units away",
    reads_what_it_wrote: "read from `best`",
    one_option_for_all_units: "its own best option",
    the_smallest_option: "its own best option",
    writes_into_best: "in place",
    returns_the_losses_only: "a pair",
    returns_lists: "as an array",
}


def two_loops(best, nats, sizes):
    return _loop(best, nats, sizes)


def as_a_table(best, nats, sizes):
    rows = []
    for loss, size in zip(nats, sizes, strict=True):
        rows.append([best[b - size] + loss if size <= b else np.inf for b in range(len(best))])
    rows = np.array(rows)  # (options, units)
    new = rows.min(0)
    return new, np.where(np.isinf(new), -1, rows.argmin(0))


RIGHT = [two_loops, as_a_table]
