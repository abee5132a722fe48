"""Answers to exercise 5.1."""

import torch


def _grid(W, bits):
    low, high = W.amin(1, keepdim=True).clamp(max=0), W.amax(1, keepdim=True).clamp(min=0)
    scale = (high - low) / (2**bits - 1)
    return low, torch.where(scale == 0, 1.0, scale)


def _codes(W, scale, zero, bits):
    return ((W / scale).round() + zero).clamp(0, 2**bits - 1).int(), scale, zero.int()


def four_steps(W, bits):
    low, scale = _grid(W, bits)
    scale = scale * (2**bits - 1) / 2**bits
    return _codes(W, scale, (-low / scale).round(), bits)


def symmetric(W, bits):
    top = max(2 ** (bits - 1) - 1, 1)
    scale = W.abs().amax(1, keepdim=True) / top
    return (W / scale).round().clamp(-top, top).int(), scale, torch.zeros_like(scale).int()


def zero_with_the_wrong_sign(W, bits):
    low, scale = _grid(W, bits)
    return _codes(W, scale, (low / scale).round(), bits)


def cuts_off(W, bits):
    low, scale = _grid(W, bits)
    zero = (-low / scale).round()
    return ((W / scale).floor() + zero).clamp(0, 2**bits - 1).int(), scale, zero.int()


def zero_not_on_the_grid(W, bits):
    low, high = W.amin(1, keepdim=True), W.amax(1, keepdim=True)
    scale = (high - low) / (2**bits - 1)
    scale = torch.where(scale == 0, 1.0, scale)
    return _codes(W, scale, (-low / scale).round(), bits)


def one_grid_for_all(W, bits):
    low, scale = _grid(W.reshape(1, -1), bits)
    zero = (-low / scale).round()
    codes, _, _ = _codes(W, scale, zero, bits)
    return codes, scale.expand(len(W), 1).clone(), zero.int().expand(len(W), 1).clone()


def divides_by_zero(W, bits):
    low, high = W.amin(1, keepdim=True).clamp(max=0), W.amax(1, keepdim=True).clamp(min=0)
    scale = (high - low) / (2**bits - 1)
    return _codes(W, scale, (-low / scale).round(), bits)


def no_limit(W, bits):
    low, scale = _grid(W, bits)
    zero = (-low / scale).round()
    return ((W / scale).round() + zero).int(), scale, zero.int()


def zero_of_fractions(W, bits):
    low, scale = _grid(W, bits)
    return (W / scale - low / scale).round().int(), scale, -low / scale


def weights_instead_of_codes(W, bits):
    low, scale = _grid(W, bits)
    codes, scale, zero = _codes(W, scale, (-low / scale).round(), bits)
    return scale * (codes - zero), scale, zero


def zero_cut_off(W, bits):
    low, scale = _grid(W, bits)
    return _codes(W, scale, (-low / scale).floor(), bits)


def at_most_four_bits(W, bits):
    return rows(W, min(bits, 4))


def rows(W, bits):
    low, scale = _grid(W, bits)
    return _codes(W, scale, (-low / scale).round(), bits)


MUTANTS = {
    four_steps: "divide by 2^bits - 1",
    symmetric: "the codes run from 0",
    zero_with_the_wrong_sign: "lies above the lowest code",
    cuts_off: "round to the nearest",
    zero_not_on_the_grid: "widen its range to 0",
    one_grid_for_all: "of one sign",
    divides_by_zero: "0 / 0",
    no_limit: "clamp",
    zero_of_fractions: "zero has dtype",
    weights_instead_of_codes: "codes has dtype",
    zero_cut_off: "halfway",
    at_most_four_bits: "random inputs",
}


def in_float64(W, bits):
    low, scale = _grid(W.double(), bits)
    codes, scale, zero = _codes(W.double(), scale, (-low / scale).round(), bits)
    return codes, scale.to(W.dtype), zero


def row_by_row(W, bits):
    out = []
    for w in W:
        low, high = min(float(w.min()), 0.0), max(float(w.max()), 0.0)
        scale = (high - low) / (2**bits - 1) or 1.0
        zero = round(-low / scale)
        codes = [min(max(round(v / scale) + zero, 0), 2**bits - 1) for v in w.tolist()]
        out.append((codes, [scale], [zero]))
    codes, scale, zero = zip(*out, strict=True)
    return (
        torch.tensor(codes, dtype=torch.int32),
        torch.tensor(scale, dtype=W.dtype),
        torch.tensor(zero, dtype=torch.int32),
    )


RIGHT = [in_float64, row_by_row]
