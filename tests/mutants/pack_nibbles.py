"""Answers to exercise 5.3."""

import torch


def _pairs(codes):
    return torch.nn.functional.pad(codes.flatten().long(), (0, codes.numel() % 2)).view(-1, 2)


def first_code_high(codes):
    p = _pairs(codes)
    return (16 * p[:, 0] + p[:, 1]).to(torch.uint8)


def with_the_far_half(codes):
    flat = torch.nn.functional.pad(codes.flatten().long(), (0, codes.numel() % 2))
    low, high = flat.view(2, -1)
    return (low + 16 * high).to(torch.uint8)


def drops_the_odd_one(codes):
    flat = codes.flatten().long()
    p = flat[: len(flat) // 2 * 2].view(-1, 2)
    return (p[:, 0] + 16 * p[:, 1]).to(torch.uint8)


def fills_up_with_ones(codes):
    p = torch.nn.functional.pad(codes.flatten().long(), (0, codes.numel() % 2), value=15).view(-1, 2)
    return (p[:, 0] + 16 * p[:, 1]).to(torch.uint8)


def every_row_by_itself(codes):
    rows = codes.reshape(-1, codes.shape[-1]).long() if codes.numel() else codes.reshape(0, 1).long()
    p = torch.nn.functional.pad(rows, (0, rows.shape[1] % 2)).reshape(-1, 2)
    return (p[:, 0] + 16 * p[:, 1]).to(torch.uint8)


def column_after_column(codes):
    return first_low(codes.T if codes.ndim == 2 else codes)


def a_byte_for_each(codes):
    return codes.flatten().to(torch.uint8)


def ten_for_sixteen(codes):
    p = _pairs(codes)
    return (p[:, 0] + 10 * p[:, 1]).to(torch.uint8)


def seven_bits(codes):
    p = _pairs(codes)
    return (p[:, 0] + 16 * (p[:, 1] % 8)).to(torch.uint8)


def whole_numbers(codes):
    p = _pairs(codes)
    return p[:, 0] + 16 * p[:, 1]


def changes_the_codes(codes):
    codes.flatten()[:] = codes.flatten() % 16
    if codes.numel():
        codes.view(-1)[0] += 1
    return first_low(codes)


def at_most_a_hundred(codes):
    return first_low(torch.cat([codes.flatten()[:100], torch.zeros_like(codes.flatten()[100:])]))


MUTANTS = {
    first_code_high: "the low half",
    with_the_far_half: "neighbours",
    drops_the_odd_one: "shape (1,)",
    fills_up_with_ones: "an odd number",
    every_row_by_itself: "shape (4,)",
    column_after_column: "rows follow each other",
    a_byte_for_each: "shape (4,)",
    ten_for_sixteen: "2 * 16",
    seven_bits: "8 * 16",
    whole_numbers: "dtype",
    changes_the_codes: "in place",
    at_most_a_hundred: "random inputs",
}


def first_low(codes):
    p = _pairs(codes)
    return (p[:, 0] | p[:, 1] << 4).to(torch.uint8)


def by_a_list(codes):
    flat = [*codes.flatten().tolist(), 0]
    return torch.tensor([flat[i] + 16 * flat[i + 1] for i in range(0, codes.numel(), 2)], dtype=torch.uint8)


RIGHT = [first_low, by_a_list]
