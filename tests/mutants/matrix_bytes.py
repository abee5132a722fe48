"""Answers to exercise 7.2."""


def _scales(shape, spec):
    R, C = shape
    return R * (C // (spec.group or C))


def _up(bits):
    return -(-bits // 8)


def _zeros(shape, spec):
    return 0 if spec.symmetric else _up(_scales(shape, spec) * spec.bits)


def forgets_the_scales(shape, spec):
    return _up(shape[0] * shape[1] * spec.bits)


def scales_of_float32(shape, spec):
    return _up(shape[0] * shape[1] * spec.bits) + 4 * _scales(shape, spec) + _zeros(shape, spec)


def one_scale_in_all(shape, spec):
    return _up(shape[0] * shape[1] * spec.bits) + 2 + _zeros(shape, spec)


def one_scale_a_row(shape, spec):
    return _up(shape[0] * shape[1] * spec.bits) + 2 * shape[0] + (0 if spec.symmetric else _up(shape[0] * spec.bits))


def forgets_the_zero_points(shape, spec):
    return _up(shape[0] * shape[1] * spec.bits) + 2 * _scales(shape, spec)


def a_byte_for_each_zero_point(shape, spec):
    return forgets_the_zero_points(shape, spec) + (0 if spec.symmetric else _scales(shape, spec))


def zero_points_of_float16(shape, spec):
    return forgets_the_zero_points(shape, spec) + (0 if spec.symmetric else 2 * _scales(shape, spec))


def pads_every_row(shape, spec):
    return shape[0] * _up(shape[1] * spec.bits) + 2 * _scales(shape, spec) + _zeros(shape, spec)


def rounds_down(shape, spec):
    return shape[0] * shape[1] * spec.bits // 8 + 2 * _scales(shape, spec) + _zeros(shape, spec)


def a_float(shape, spec):
    return shape[0] * shape[1] * spec.bits / 8 + 2 * _scales(shape, spec)


def zero_points_of_symmetric_grids(shape, spec):
    return forgets_the_zero_points(shape, spec) + _up(_scales(shape, spec) * spec.bits)


def rounds_the_sum_of_all_bits(shape, spec):
    R, C = shape
    n = _scales(shape, spec)
    return _up(R * C * spec.bits + 16 * n + (0 if spec.symmetric else n * spec.bits))


def a_scale_a_column_group(shape, spec):
    R, C = shape
    n = C // (spec.group or C) if spec.group else R
    return _up(R * C * spec.bits) + 2 * n + (0 if spec.symmetric else _up(n * spec.bits))


MUTANTS = {
    forgets_the_scales: "scales are missing",
    scales_of_float32: "float16",
    one_scale_in_all: "one scale for each row",
    one_scale_a_row: "two scales",
    forgets_the_zero_points: "zero point for each scale",
    a_byte_for_each_zero_point: "packed like the codes",
    zero_points_of_float16: "packed like the codes",
    pads_every_row: "over the whole matrix",
    rounds_down: "round up",
    a_float: "whole number",
    zero_points_of_symmetric_grids: "",
    rounds_the_sum_of_all_bits: "each fill whole bytes",
    a_scale_a_column_group: "",
}


def by_parts(shape, spec):
    R, C = shape
    n = R * (C // (C if spec.group is None else spec.group))
    parts = [R * C * spec.bits, 16 * n] + ([] if spec.symmetric else [n * spec.bits])
    return sum((part + 7) // 8 for part in parts)


def by_counting(shape, spec):
    R, C = shape
    codes = scales = 0
    for _ in range(R):
        for c in range(C):
            codes += 1
            scales += c % (spec.group or C) == 0
    zeros = 0 if spec.symmetric else scales
    return -(-codes * spec.bits // 8) + 2 * scales + -(-zeros * spec.bits // 8)


RIGHT = [by_parts, by_counting]
