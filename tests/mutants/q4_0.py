"""Answers to exercise 18.3."""

import torch


def _codes(w, d):
    return (w / torch.where(d == 0, 1.0, d) + 8.5).floor()


def _extreme(w):
    return w.gather(1, w.abs().argmax(1, keepdim=True))


def without_sign(w):
    d = w.abs().amax(1, keepdim=True) / 8
    return d.half(), _codes(w, d).clamp(0, 15).int()


def over_seven(w):
    d = _extreme(w) / -7
    return d.half(), _codes(w, d).clamp(0, 15).int()


def other_sign(w):
    d = _extreme(w) / 8
    return d.half(), _codes(w, d).clamp(0, 15).int()


def largest_value(w):
    d = w.amax(1, keepdim=True) / -8
    return d.half(), _codes(w, d).clamp(0, 15).int()


def last_of_equals(w):
    d = w.flip(1).gather(1, w.flip(1).abs().argmax(1, keepdim=True)) / -8
    return d.half(), _codes(w, d).clamp(0, 15).int()


def signed_codes(w):
    d, codes = right(w)
    return d, codes - 8


def no_clip(w):
    d = _extreme(w) / -8
    return d.half(), _codes(w, d).int()


def to_even(w):
    d = _extreme(w) / -8
    return d.half(), ((w / torch.where(d == 0, 1.0, d)).round() + 8).clamp(0, 15).int()


def not_a_number(w):
    d = _extreme(w) / -8
    return d.half(), (w / d + 8.5).floor().nan_to_num(0).clamp(0, 15).int()


def rounded_first(w):
    d = (_extreme(w) / -8).half()
    return d, _codes(w, d.float()).clamp(0, 15).int()


def one_scale(w):
    d = right(w.reshape(1, -1))[0].float().expand(len(w), 1)
    return d.half(), _codes(w, d).clamp(0, 15).int()


def single_precision(w):
    d, codes = right(w)
    return d.float(), codes


def codes_alone(w):
    return right(w)[1]


MUTANTS = {
    without_sign: "keeps its sign",
    over_seven: "over -8",
    other_sign: "the other sign",
    largest_value: "largest *size*",
    last_of_equals: "the first one decides",
    signed_codes: "0 to 15",
    no_clip: "clip",
    to_even: "goes *up*",
    not_a_number: "all codes 8",
    rounded_first: "only the stored d",
    one_scale: "",
    single_precision: "dtype",
    codes_alone: "two results",
}


def right(w):
    d = _extreme(w) / -8
    return d.half(), _codes(w, d).clamp(0, 15).int()


def block_by_block(w):
    scales, codes = [], []
    for block in w:
        extreme = block[block.abs().argmax()]
        d = -extreme / 8
        scales.append(d)
        codes.append(((block / d if extreme != 0 else block) + 8.5).floor().clamp(max=15))
    return torch.stack(scales)[:, None].half(), torch.stack(codes).int()


RIGHT = [right, block_by_block]
