"""Answers to exercise 1.5."""

import torch


def weight_w(denoise, x, valid, given, w, mask_id):
    cond, un = denoise(x, valid), denoise(torch.where(given, mask_id, x), valid)
    return un + w * (cond - un)


def swapped(denoise, x, valid, given, w, mask_id):
    cond, un = denoise(x, valid), denoise(torch.where(given, mask_id, x), valid)
    return cond + (w + 1) * (un - cond)


def forgets_un(denoise, x, valid, given, w, mask_id):
    cond, _ = denoise(x, valid), denoise(torch.where(given, mask_id, x), valid)
    return (w + 1) * cond


def adds_un(denoise, x, valid, given, w, mask_id):
    cond, un = denoise(x, valid), denoise(torch.where(given, mask_id, x), valid)
    return cond + w * un


def masks_everything(denoise, x, valid, given, w, mask_id):
    cond, un = denoise(x, valid), denoise(torch.full_like(x, mask_id), valid)
    return un + (w + 1) * (cond - un)


def masks_generated_tokens(denoise, x, valid, given, w, mask_id):
    seen = torch.ones_like(given) if valid is None else valid
    cond, un = denoise(x, valid), denoise(torch.where(seen, mask_id, x), valid)
    return un + (w + 1) * (cond - un)


def masks_the_padding(denoise, x, valid, given, w, mask_id):
    hidden = given if valid is None else given | ~valid
    cond, un = denoise(x, valid), denoise(torch.where(hidden, mask_id, x), valid)
    return un + (w + 1) * (cond - un)


def masks_nothing(denoise, x, valid, given, w, mask_id):
    cond, un = denoise(x, valid), denoise(x.clone(), valid)
    return un + (w + 1) * (cond - un)


def hides_with_0(denoise, x, valid, given, w, mask_id):
    cond, un = denoise(x, valid), denoise(x * ~given, valid)
    return un + (w + 1) * (cond - un)


def masks_what_is_not_given(denoise, x, valid, given, w, mask_id):
    cond, un = denoise(x, valid), denoise(torch.where(given, x, mask_id), valid)
    return un + (w + 1) * (cond - un)


def writes_into_x(denoise, x, valid, given, w, mask_id):
    cond = denoise(x, valid)
    x[given] = mask_id
    return (w + 1) * cond - w * denoise(x, valid)


def one_pass(denoise, x, valid, given, w, mask_id):
    return denoise(x, valid)


def forgets_valid(denoise, x, valid, given, w, mask_id):
    cond, un = denoise(x, valid), denoise(torch.where(given, mask_id, x), None)
    return un + (w + 1) * (cond - un)


def hides_by_attention(denoise, x, valid, given, w, mask_id):
    seen = torch.ones_like(given) if valid is None else valid
    cond, un = denoise(x, valid), denoise(torch.where(given, mask_id, x), seen & ~given)
    return un + (w + 1) * (cond - un)


def blends_probabilities(denoise, x, valid, given, w, mask_id):
    cond, un = (denoise(ids, valid).softmax(-1) for ids in (x, torch.where(given, mask_id, x)))
    return un + (w + 1) * (cond - un)


def hides_between_given_tokens(denoise, x, valid, given, w, mask_id):
    between = given.int().cumsum(1).bool() & given.int().flip(1).cumsum(1).flip(1).bool()
    hidden = between if valid is None else between & valid
    cond, un = denoise(x, valid), denoise(torch.where(hidden, mask_id, x), valid)
    return un + (w + 1) * (cond - un)


def hides_a_prefix(denoise, x, valid, given, w, mask_id):
    count = given.sum(1, keepdim=True)
    real = torch.ones_like(given) if valid is None else valid
    hidden = real & (real.int().cumsum(1) <= count)
    cond, un = denoise(x, valid), denoise(torch.where(hidden, mask_id, x), valid)
    return un + (w + 1) * (cond - un)


def whole_weights_only(denoise, x, valid, given, w, mask_id):
    cond, un = denoise(x, valid), denoise(torch.where(given, mask_id, x), valid)
    return un + (round(w) + 1) * (cond - un)


MUTANTS = {
    weight_w: "w instead of w + 1",
    swapped: "swapped",
    forgets_un: "un is missing",
    adds_un: "difference",
    masks_everything: "generated tokens",
    masks_generated_tokens: "generated tokens",
    masks_the_padding: "padding",
    masks_nothing: "nothing was masked",
    hides_with_0: "mask_id in place",
    masks_what_is_not_given: "generated tokens",
    writes_into_x: "in place",
    one_pass: "one pass with",
    forgets_valid: "valid",
    hides_by_attention: "valid",
    blends_probabilities: "is not un + (w + 1)(cond - un)",
    hides_between_given_tokens: "generated tokens",
    hides_a_prefix: "padding",
    whole_weights_only: "is not un",
}


def in_one_call(denoise, x, valid, given, w, mask_id):
    """The form of LLaDA's sampler: one batch of twice the size."""
    both = torch.cat([x, torch.where(given, mask_id, x)])
    cond, un = denoise(both, None if valid is None else torch.cat([valid, valid])).chunk(2)
    return un + (w + 1) * (cond - un)


def blind_first(denoise, x, valid, given, w, mask_id):
    un = denoise(x.masked_fill(given, mask_id), valid)
    return (1 + w) * denoise(x, valid) - w * un


def on_a_copy(denoise, x, valid, given, w, mask_id):
    blind = x.clone()
    blind[given] = mask_id
    cond, un = denoise(x, valid), denoise(blind, valid)
    return cond + w * (cond - un)


def row_by_row(denoise, x, valid, given, w, mask_id):
    rows = []
    for b in range(len(x)):
        row, seen = x[b : b + 1], None if valid is None else valid[b : b + 1]
        cond, un = denoise(row, seen), denoise(row.masked_fill(given[b], mask_id), seen)
        rows.append(cond + w * (cond - un))
    return torch.cat(rows)


RIGHT = [in_one_call, blind_first, on_a_copy, row_by_row]
