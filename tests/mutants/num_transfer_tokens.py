"""Answers to exercise 1.2."""

import math

import numpy as np
import torch


def rounds_each_part(masks, steps):
    return [round(masks / steps)] * steps


def forgets_the_remainder(masks, steps):
    return [masks // steps] * steps


def larger_parts_last(masks, steps):
    base, rest = divmod(masks, steps)
    return [base + (i >= steps - rest) for i in range(steps)]


def rounds_up(masks, steps):
    return [math.ceil(masks / steps)] * steps


def drops_the_zeros(masks, steps):
    base, rest = divmod(masks, steps)
    return [n for n in (base + (i < rest) for i in range(steps)) if n]


def remainder_in_the_first_step(masks, steps):
    base, rest = divmod(masks, steps)
    return [base + rest] + [base] * (steps - 1)


def greedy_with_ceil(masks, steps):
    size = math.ceil(masks / steps)
    return [max(0, min(size, masks - i * size)) for i in range(steps)]


def cumulative_rounding(masks, steps):
    ends = [masks * i // steps for i in range(steps + 1)]
    return [b - a for a, b in zip(ends, ends[1:], strict=False)]


def true_division(masks, steps):
    return [masks / steps] * steps


def returns_nothing(masks, steps):
    divmod(masks, steps)


def returns_a_tensor(masks, steps):
    base, rest = divmod(masks, steps)
    return base + (torch.arange(steps) < rest).long()


def right_up_to_twelve_steps(masks, steps):
    base, rest = divmod(masks, min(steps, 12))
    return [base + (i < rest) for i in range(min(steps, 12))] + [0] * (steps - min(steps, 12))


def bools_for_small_parts(masks, steps):
    return (
        [i < masks for i in range(steps)]
        if masks < steps
        else [masks // steps + (i < masks % steps) for i in range(steps)]
    )


MUTANTS = {
    rounds_each_part: "lost",
    forgets_the_remainder: "lost",
    larger_parts_last: "larger parts must come first",
    rounds_up: "too many",
    drops_the_zeros: "stays in the list, as 0",
    remainder_in_the_first_step: "uneven",
    greedy_with_ceil: "uneven",
    cumulative_rounding: "larger parts must come first",
    true_division: "whole numbers",
    returns_nothing: "return statement",
    returns_a_tensor: "it should be a list",
    right_up_to_twelve_steps: "uneven",
    bools_for_small_parts: "whole numbers",
}


def one_by_one(masks, steps):
    parts = [0] * steps
    for i in range(masks):
        parts[i % steps] += 1
    return parts


def two_lists(masks, steps):
    return [masks // steps + 1] * (masks % steps) + [masks // steps] * (steps - masks % steps)


def tensor_then_list(masks, steps):
    parts = torch.full((steps,), masks // steps)
    parts[: masks % steps] += 1
    return parts.tolist()


def with_numpy(masks, steps):
    return [len(part) for part in np.array_split(np.arange(masks), steps)]


def numpy_integers(masks, steps):
    return list(masks // steps + (np.arange(steps) < masks % steps))


RIGHT = [one_by_one, two_lists, tensor_then_list, with_numpy, numpy_integers]
