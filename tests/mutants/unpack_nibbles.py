"""Answers to exercise 5.6."""

import torch


def high_half_first(packed, n):
    return torch.stack([packed >> 4, packed & 15], 1).flatten()[:n].int()


def all_high_halves_last(packed, n):
    return torch.cat([packed & 15, packed >> 4])[:n].int()


def keeps_what_fills_up(packed, n):
    return torch.stack([packed & 15, packed >> 4], 1).flatten().int()


def bytes_as_codes(packed, n):
    return packed[:n].int()


def low_halves_only(packed, n):
    return (packed & 15).repeat_interleave(2)[:n].int()


def high_half_not_shifted(packed, n):
    return torch.stack([packed & 15, packed & 240], 1).flatten()[:n].int()


def shifts_by_three(packed, n):
    return torch.stack([packed & 15, packed >> 3 & 15], 1).flatten()[:n].int()


def signed_bytes(packed, n):
    signed = packed.view(torch.int8)
    return torch.stack([signed & 15, signed >> 4], 1).flatten()[:n].int()


def still_bytes(packed, n):
    return both_halves(packed, n).to(torch.uint8)


def drops_the_first(packed, n):
    every = torch.stack([packed & 15, packed >> 4], 1).flatten()
    return every[len(every) - n :].int()


def at_most_a_hundred(packed, n):
    return both_halves(packed, n) * (torch.arange(n) < 100)


MUTANTS = {
    high_half_first: "the low half",
    all_high_halves_last: "take turns",
    keeps_what_fills_up: "shape",
    bytes_as_codes: "shape",
    low_halves_only: "33 and 143",
    high_half_not_shifted: "33 and 143",
    shifts_by_three: "33 and 143",
    signed_bytes: "33 and 143",
    still_bytes: "dtype",
    drops_the_first: "the third is 7",
    at_most_a_hundred: "random inputs",
}


def both_halves(packed, n):
    return torch.stack([packed & 15, packed >> 4], 1).flatten()[:n].int()


def by_a_list(packed, n):
    every = [half for byte in packed.tolist() for half in (byte % 16, byte // 16)]
    return torch.tensor(every[:n], dtype=torch.int32)


RIGHT = [both_halves, by_a_list]
