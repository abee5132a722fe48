"""Answers to exercise 0.1."""

from itertools import takewhile


def keeps_the_end_mark(ids, eos_id):
    return ids[: ids.index(eos_id) + 1] if eos_id in ids else list(ids)


def cuts_at_the_last_end_mark(ids, eos_id):
    return ids[: len(ids) - 1 - ids[::-1].index(eos_id)] if eos_id in ids else list(ids)


def strips_the_tail(ids, eos_id):
    ids = list(ids)
    while ids and ids[-1] == eos_id:
        ids.pop()
    return ids


def removes_every_end_mark(ids, eos_id):
    return [i for i in ids if i != eos_id]


def cuts_in_place(ids, eos_id):
    if eos_id in ids:
        del ids[ids.index(eos_id) :]
    return ids


def loses_the_last_token_without_an_end_mark(ids, eos_id):
    n = next((n for n, i in enumerate(ids) if i == eos_id), -1)
    return ids[:n]


def empties_an_answer_without_an_end_mark(ids, eos_id):
    return ids[: ids.index(eos_id)] if eos_id in ids else []


def takes_eos_0_for_no_end_mark(ids, eos_id):
    return ids[: ids.index(eos_id)] if eos_id and eos_id in ids else list(ids)


def cuts_at_any_0(ids, eos_id):
    return list(takewhile(lambda i: i and i != eos_id, ids))


def keeps_an_end_mark_at_the_start(ids, eos_id):
    n = ids.index(eos_id) if eos_id in ids else 0
    return ids[:n] if n else list(ids)


def cuts_one_too_early(ids, eos_id):
    return ids[: max(ids.index(eos_id) - 1, 0)] if eos_id in ids else list(ids)


def ends_an_empty_answer(ids, eos_id):
    ids = ids or [7]
    return ids[: ids.index(eos_id)] if eos_id in ids else list(ids)


def returns_a_tuple(ids, eos_id):
    return tuple(takewhile(lambda i: i != eos_id, ids))


def returns_nothing(ids, eos_id):
    ids[: ids.index(eos_id)] if eos_id in ids else list(ids)


def compares_objects(ids, eos_id):
    return list(takewhile(lambda i: i is not eos_id, ids))


def knows_small_ids_only(ids, eos_id):
    return list(takewhile(lambda i: i != eos_id or i > 256, ids))


def looks_at_eight_tokens(ids, eos_id):
    return ids[: ids[:8].index(eos_id)] if eos_id in ids[:8] else list(ids)


MUTANTS = {
    keeps_the_end_mark: "end mark itself",
    cuts_at_the_last_end_mark: "last end mark",
    strips_the_tail: "at the tail",
    removes_every_end_mark: "one by one",
    cuts_in_place: "in place",
    loses_the_last_token_without_an_end_mark: "without an end mark",
    empties_an_answer_without_an_end_mark: "without an end mark",
    takes_eos_0_for_no_end_mark: "eos_id = 0",
    cuts_at_any_0: "token id 0",
    keeps_an_end_mark_at_the_start: "starts with the end mark",
    cuts_one_too_early: "should be [5, 0, 7]",
    ends_an_empty_answer: "empty answer stays empty",
    returns_a_tuple: "it should be a list",
    returns_nothing: "return statement",
    compares_objects: "it should be",
    knows_small_ids_only: "it should be",
    looks_at_eight_tokens: "it should be",
}


def stops_at_the_end_mark(ids, eos_id):
    return list(takewhile(lambda i: i != eos_id, ids))


def loops(ids, eos_id):
    kept = []
    for i in ids:
        if i == eos_id:
            break
        kept.append(i)
    return kept


RIGHT = [stops_at_the_end_mark, loops]
