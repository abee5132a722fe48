"""Answers to exercise 7.5."""

import torch


def _write(denoise, x, mask_id, tau=0.95, edit_tau=0.9, extra=16, *, flags=()):
    x = x if "in place" in flags else x.clone()
    given, forwards, changed = x != mask_id, 0, False
    if "edits given" in flags:
        given = torch.zeros_like(given)
    while bool((x == mask_id).any()) or (forwards and changed and extra > 0):
        masked = x == mask_id
        if "no bound" not in flags:
            extra -= 1 if "counts every forward" in flags else int(not masked.any())
        logits = denoise(x).clone()
        forwards += 1
        logits[:, mask_id] = float("-inf")
        p, v = logits.softmax(-1).max(-1)
        write = masked & (p > tau)
        if bool(masked.any()) and not bool(write.any()):
            write[p.masked_fill(~masked, -1.0).argmax()] = True
        if "one at a time" in flags:
            write = torch.zeros_like(masked)
            if bool(masked.any()):
                write[p.masked_fill(~masked, -1.0).argmax()] = True
        edit = ~masked & ~given & (v != x) & (p > (tau if "one threshold" in flags else edit_tau))
        if "never edits" in flags:
            edit = torch.zeros_like(edit)
        if "edits only full blocks" in flags and bool(masked.any()):
            edit = torch.zeros_like(edit)
        x_new = torch.where(write | edit, v, x)
        if "in place" in flags:
            x.copy_(x_new)
        else:
            x = x_new
        changed = bool(edit.any()) or (bool(masked.any()) and "no last look" not in flags)
        if "stops when full" in flags and not bool((x == mask_id).any()):
            break
    if "forgets a forward" in flags:
        forwards -= 1
    return x, forwards


def never_edits(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how, flags=("never edits",))


def has_no_bound(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how, flags=("no bound",))


def edits_what_was_given(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how, flags=("edits given",))


def counts_every_forward(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how, flags=("counts every forward",))


def one_threshold_for_both(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how, flags=("one threshold",))


def stops_when_full(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how, flags=("stops when full",))


def no_last_look(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how, flags=("no last look",))


def one_at_a_time(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how, flags=("one at a time",))


def edits_only_full_blocks(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how, flags=("edits only full blocks",))


def changes_its_input(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how, flags=("in place",))


def forgets_a_forward(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how, flags=("forgets a forward",))


def writes_the_mask(denoise, x, mask_id, **how):
    ids, forwards = x.clone(), 0
    while bool((ids == mask_id).any()) and forwards < 30:
        p, v = denoise(ids).softmax(-1).max(-1)
        ids, forwards = torch.where(ids == mask_id, v, ids), forwards + 1
    return ids, forwards


def only_the_text(denoise, x, mask_id, **how):
    return _write(denoise, x, mask_id, **how)[0]


MUTANTS = {
    never_edits: "read once more",
    has_no_bound: "does not end",
    edits_what_was_given: "from the start",
    counts_every_forward: "may be read",
    one_threshold_for_both: "random logits",
    stops_when_full: "read once more",
    no_last_look: "read once more",
    one_at_a_time: "",
    edits_only_full_blocks: "",
    changes_its_input: "x was changed",
    forgets_a_forward: "are reported",
    writes_the_mask: "",
    only_the_text: "return the filled ids",
}


def with_a_counter(denoise, x, mask_id, *, tau=0.95, edit_tau=0.9, extra=16):
    return _write(denoise, x, mask_id, tau, edit_tau, extra)


def place_by_place(denoise, x, mask_id, *, tau=0.95, edit_tau=0.9, extra=16):
    ids, fixed, forwards = x.tolist(), [i for i, t in enumerate(x.tolist()) if t != mask_id], 0
    changed, spent = False, 0
    while mask_id in ids or (forwards > 0 and changed and spent < extra):
        masked = [i for i, t in enumerate(ids) if t == mask_id]
        spent += not masked
        logits = denoise(torch.tensor(ids)).double()
        logits[:, mask_id] = -torch.inf
        p, v = (t.tolist() for t in logits.softmax(-1).max(-1))
        forwards += 1
        write = [i for i in masked if p[i] > tau] or sorted(masked, key=lambda i: -p[i])[:1]
        edit = [i for i in range(len(ids)) if i not in masked and i not in fixed and v[i] != ids[i] and p[i] > edit_tau]
        for i in (*write, *edit):
            ids[i] = v[i]
        changed = bool(write or edit)
    return torch.tensor(ids), forwards


RIGHT = [with_a_counter, place_by_place]
