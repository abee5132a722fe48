"""Answers to exercise 13.2."""

import torch


def _rank(score, places):
    order = score.masked_fill(~places, float("-inf")).argsort(dim=-1, descending=True, stable=True)
    first = places.gather(1, order).int().argsort(dim=-1, descending=True, stable=True)
    order = order.gather(1, first)
    return torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1]).expand(order.shape))


def _give(confidence, present, masked, written, due, eta, *, on_masks=None, more=0):
    score = torch.where(written, eta * present, confidence if on_masks is None else on_masks * confidence)
    stands = _rank(score, masked | written) < (written.sum(1) + due + more)[:, None]
    return written & ~stands


def never_gives_up(confidence, present, masked, written, due, eta):
    return torch.zeros_like(written)


def forgets_eta(confidence, present, masked, written, due, eta):
    return _give(confidence, present, masked, written, due, 1.0)


def weighs_the_masks(confidence, present, masked, written, due, eta):
    return _give(confidence, present, masked, written, due, 1.0, on_masks=eta)


def only_what_is_due_stands(confidence, present, masked, written, due, eta):
    score = torch.where(written, eta * present, confidence)
    return written & (_rank(score, masked | written) >= due[:, None])


def forgets_what_is_due(confidence, present, masked, written, due, eta):
    return _give(confidence, present, masked, written, 0 * due, eta)


def one_place_too_many(confidence, present, masked, written, due, eta):
    return _give(confidence, present, masked, written, due, eta, more=1)


def gives_up_what_is_below_a_mask(confidence, present, masked, written, due, eta):
    best = confidence.masked_fill(~masked, -1.0).amax(1, keepdim=True)
    return written & (eta * present < best)


def judges_by_the_proposal(confidence, present, masked, written, due, eta):
    return _give(confidence, confidence, masked, written, due, eta)


def lets_the_prompt_take_part(confidence, present, masked, written, due, eta):
    score = torch.where(written, eta * present, confidence)
    return written & (_rank(score, torch.ones_like(masked)) >= (written.sum(1) + due)[:, None])


def marks_the_losing_masks(confidence, present, masked, written, due, eta):
    score = torch.where(written, eta * present, confidence)
    return (masked | written) & (_rank(score, masked | written) >= (written.sum(1) + due)[:, None])


def all_rows_together(confidence, present, masked, written, due, eta):
    flat = [t.reshape(1, -1) for t in (confidence, present, masked, written)]
    return _give(*flat, due.sum()[None], eta).view(written.shape)


def the_due_of_the_first_row(confidence, present, masked, written, due, eta):
    return _give(confidence, present, masked, written, due[:1].expand(len(due)).clamp(max=masked.sum(1)), eta)


def writes_into_its_input(confidence, present, masked, written, due, eta):
    found = _give(confidence, present, masked, written, due, eta)
    present.mul_(eta)
    return found


MUTANTS = {
    never_gives_up: "somebody has to go",
    forgets_eta: "somebody has to go",
    weighs_the_masks: "",
    only_what_is_due_stands: "",
    forgets_what_is_due: "",
    one_place_too_many: "somebody has to go",
    gives_up_what_is_below_a_mask: "so the last token",
    judges_by_the_proposal: "not with that of a proposal",
    lets_the_prompt_take_part: "random inputs",
    marks_the_losing_masks: "only a written token",
    all_rows_together: "random inputs",
    the_due_of_the_first_row: "random inputs",
    writes_into_its_input: "in place",
}


def right(confidence, present, masked, written, due, eta):
    return _give(confidence, present, masked, written, due, eta)


def place_by_place(confidence, present, masked, written, due, eta):
    found = torch.zeros_like(written)
    for row in range(len(written)):
        places = [i for i in range(written.shape[1]) if masked[row, i] or written[row, i]]
        score = {i: float(eta * present[row, i] if written[row, i] else confidence[row, i]) for i in places}
        losers = sorted(places, key=lambda i: (-score[i], i))[int(written[row].sum() + due[row]) :]
        for i in losers:
            found[row, i] = written[row, i]
    return found


RIGHT = [right, place_by_place]
