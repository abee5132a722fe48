"""Answers to exercise 7.4."""

import torch


def _mask(noised, to_clean, back, clean):
    allowed = torch.cat([torch.cat([noised, to_clean], 1), torch.cat([back, clean], 1)])
    return torch.zeros(allowed.shape).masked_fill(~allowed, float("-inf"))[None, None]


def _parts(L, block):
    b = torch.arange(L) // block
    own, before = b[:, None] == b, b[:, None] > b
    return own, before, torch.zeros_like(own)


def as_given(L, block):
    b = torch.arange(2 * L) // block
    return torch.zeros(2 * L, 2 * L).masked_fill(~(b[:, None] >= b), float("-inf"))


def reads_its_own_answer(L, block):
    own, before, none = _parts(L, block)
    return _mask(own, own | before, none, own | before)


def sees_all_clean_text(L, block):
    own, before, none = _parts(L, block)
    return _mask(own, ~own, none, own | before)


def sees_earlier_noise(L, block):
    own, before, none = _parts(L, block)
    return _mask(own | before, before, none, own | before)


def clean_sees_noise(L, block):
    own, before, none = _parts(L, block)
    return _mask(own, before, own, own | before)


def clean_sees_everything(L, block):
    own, before, none = _parts(L, block)
    return _mask(own, before, none, own | ~own)


def causal_inside_a_block(L, block):
    own, before, none = _parts(L, block)
    return _mask(own & torch.ones_like(own).tril(), before, none, own | before)


def clean_is_causal(L, block):
    own, before, none = _parts(L, block)
    return _mask(own, before, none, torch.ones_like(own).tril())


def numbers_blocks_over_both_halves(L, block):
    b = torch.arange(2 * L) // block
    own, before = b[:, None] == b, b[:, None] > b
    allowed = torch.zeros(2 * L, 2 * L, dtype=torch.bool)
    allowed[:L, :L], allowed[L:, L:] = own[:L, :L], (own | before)[L:, L:]
    allowed[:L, L:] = before[:L, :L]
    return torch.zeros(2 * L, 2 * L).masked_fill(~allowed, float("-inf"))[None, None]


def forgets_the_clean_text(L, block):
    own, before, none = _parts(L, block)
    return _mask(own, none, none, own | before)


def halves_changed_places(L, block):
    own, before, none = _parts(L, block)
    return _mask(own | before, none, before, own)


def a_boolean_mask(L, block):
    own, before, none = _parts(L, block)
    return _mask(own, before, none, own | before) == 0


def large_but_finite(L, block):
    own, before, none = _parts(L, block)
    return _mask(own, before, none, own | before).nan_to_num(neginf=-1e9)


MUTANTS = {
    as_given: "shape",
    reads_its_own_answer: "reads its answer",
    sees_all_clean_text: "later block",
    sees_earlier_noise: "noised tokens of another block",
    clean_sees_noise: "clean text sees noised",
    clean_sees_everything: "clean text sees a later block",
    causal_inside_a_block: "both sides",
    clean_is_causal: "both sides",
    numbers_blocks_over_both_halves: "",
    forgets_the_clean_text: "every earlier block",
    halves_changed_places: "",
    a_boolean_mask: "dtype",
    large_but_finite: "-inf else",
}


def by_quarters(L, block):
    own, before, none = _parts(L, block)
    return _mask(own, before, none, own | before)


def entry_by_entry(L, block):
    out = torch.full((1, 1, 2 * L, 2 * L), float("-inf"))
    for i in range(2 * L):
        for j in range(2 * L):
            b, c = i % L // block, j % L // block
            if (i < L and j < L and b == c) or (i < L <= j and b > c) or (i >= L and j >= L and b >= c):
                out[0, 0, i, j] = 0.0
    return out


RIGHT = [by_quarters, entry_by_entry]
