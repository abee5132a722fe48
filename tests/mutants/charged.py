"""Answers to exercise 13.3."""

import torch


def _refuse(calls, texts):
    for whose in calls:
        if bool(((whose < 0) | (whose >= texts)).any()):
            raise ValueError(f"texts are 0..{texts - 1}")


def _count(calls, texts):
    return torch.bincount(torch.cat([torch.empty(0, dtype=torch.long), *calls]), minlength=texts)


def counts_calls(calls, texts):
    _refuse(calls, texts)
    count = torch.zeros(texts, dtype=torch.long)
    for whose in calls:
        count[whose.unique()] += 1
    return count


def counts_all_calls_for_all(calls, texts):
    _refuse(calls, texts)
    return torch.full((texts,), len(calls))


def charges_the_largest_share(calls, texts):
    _refuse(calls, texts)
    return torch.full((texts,), int(_count(calls, texts).max()) if texts else 0)


def shares_a_call(calls, texts):
    _refuse(calls, texts)
    return _count(calls, texts) // max(1, max((len(c) for c in calls), default=1))


def gives_shares(calls, texts):
    _refuse(calls, texts)
    return _count(calls, texts).double()


def leaves_out_who_was_not_read(calls, texts):
    _refuse(calls, texts)
    return torch.bincount(torch.cat([torch.empty(0, dtype=torch.long), *calls]))


def needs_a_call(calls, texts):
    _refuse(calls, texts)
    return torch.bincount(torch.cat(list(calls)), minlength=texts) if calls else torch.zeros(0, dtype=torch.long)


def the_last_call_only(calls, texts):
    _refuse(calls, texts)
    return _count(calls[-1:], texts)


def does_not_refuse(calls, texts):
    inside = [whose[(whose >= 0) & (whose < texts)] for whose in calls]
    return _count(inside, texts)


def refuses_the_first_only(calls, texts):
    _refuse(calls[:1], texts)
    inside = [whose[(whose >= 0) & (whose < texts)] for whose in calls]
    return _count(inside, texts)


def sorts_in_place(calls, texts):
    _refuse(calls, texts)
    for whose in calls:
        whose.copy_(whose.sort().values.flip(0))
    return _count(calls, texts)


MUTANTS = {
    counts_calls: "count as one",
    counts_all_calls_for_all: "6 and 2",
    charges_the_largest_share: "not to all texts",
    shares_a_call: "6 and 2",
    gives_shares: "dtype",
    leaves_out_who_was_not_read: "shape",
    needs_a_call: "shape",
    the_last_call_only: "6 and 2",
    does_not_refuse: "not there",
    refuses_the_first_only: "not there",
    sorts_in_place: "in place",
}


def right(calls, texts):
    _refuse(calls, texts)
    return _count(calls, texts)


def one_by_one(calls, texts):
    count = [0] * texts
    for whose in calls:
        for text in whose.tolist():
            if not 0 <= text < texts:
                raise ValueError(text)
            count[text] += 1
    return torch.tensor(count)


RIGHT = [right, one_by_one]
