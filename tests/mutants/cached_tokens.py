"""Answers to exercise 8.1."""

import numpy as np


def _sum(prompt, answer, block, later):
    return sum(later(start) for start in range(0, answer, block))


def never_refreshes(prompt, answer, block, steps, cache):
    text = prompt + answer
    each = {"none": lambda s: text, "prefix": lambda s: answer - s, "dual": lambda s: min(block, answer - s)}[cache]
    return _sum(prompt, answer, block, lambda s: steps * each(s))


def refreshes_on_top(prompt, answer, block, steps, cache):
    text = prompt + answer
    each = {"none": lambda s: text, "prefix": lambda s: answer - s, "dual": lambda s: min(block, answer - s)}[cache]
    return _sum(prompt, answer, block, lambda s: text + steps * each(s))


def one_block_only(prompt, answer, block, steps, cache):
    text = prompt + answer
    return text + (steps - 1) * {"none": text, "prefix": answer, "dual": block}[cache]


def steps_are_shared(prompt, answer, block, steps, cache):
    text, blocks = prompt + answer, -(-answer // block)
    each = {"none": text, "prefix": answer, "dual": block}[cache]
    return blocks * text + max(steps - blocks, 0) * each


def prefix_reads_the_prompt(prompt, answer, block, steps, cache):
    text = prompt + answer
    each = {"none": lambda s: text, "prefix": lambda s: text - s, "dual": lambda s: min(block, answer - s)}[cache]
    return _sum(prompt, answer, block, lambda s: text + (steps - 1) * each(s))


def prefix_keeps_only_the_prompt(prompt, answer, block, steps, cache):
    text = prompt + answer
    each = {"none": lambda s: text, "prefix": lambda s: answer, "dual": lambda s: min(block, answer - s)}[cache]
    return _sum(prompt, answer, block, lambda s: text + (steps - 1) * each(s))


def dual_is_prefix(prompt, answer, block, steps, cache):
    text = prompt + answer
    each = {"none": lambda s: text, "prefix": lambda s: answer - s, "dual": lambda s: answer - s}[cache]
    return _sum(prompt, answer, block, lambda s: text + (steps - 1) * each(s))


def last_block_is_full(prompt, answer, block, steps, cache):
    text = prompt + answer
    each = {"none": lambda s: text, "prefix": lambda s: answer - s, "dual": lambda s: block}[cache]
    return _sum(prompt, answer, block, lambda s: text + (steps - 1) * each(s))


def a_mean(prompt, answer, block, steps, cache):
    return RIGHT[0](prompt, answer, block, steps, cache) / 1.0


def as_a_float(prompt, answer, block, steps, cache):
    return float(in_closed_form(prompt, answer, block, steps, cache))


def at_least_one_block(prompt, answer, block, steps, cache):
    return in_closed_form(prompt, max(answer, 1), block, steps, cache)


def at_most_eight_forwards(prompt, answer, block, steps, cache):
    return in_closed_form(prompt, answer, block, min(steps, 8), cache)


def in_closed_form(prompt, answer, block, steps, cache):
    total = 0
    for start in range(0, answer, block):
        later = {"none": prompt + answer, "prefix": answer - start, "dual": min(block, answer - start)}[cache]
        total += prompt + answer + (steps - 1) * later
    return total


MUTANTS = {
    never_refreshes: "first forward",
    refreshes_on_top: "reads prompt and answer",
    one_block_only: "two blocks take twice",
    steps_are_shared: "two blocks take twice",
    prefix_reads_the_prompt: "prompt is not read again",
    prefix_keeps_only_the_prompt: "finished blocks are cached",
    dual_is_prefix: "the block alone",
    last_block_is_full: "tokens that are left",
    a_mean: "should be an int",
    as_a_float: "it should be an int",
    at_least_one_block: "every position",
    at_most_eight_forwards: "every position",
}


def forward_by_forward(prompt, answer, block, steps, cache):
    total = 0
    for start in range(prompt, prompt + answer, block):
        for step in range(steps):
            first = 0 if step == 0 or cache == "none" else start
            last = min(start + block, prompt + answer) if step > 0 and cache == "dual" else prompt + answer
            total += last - first
    return total


def closed_form(prompt, answer, block, steps, cache):
    starts = range(0, answer, block)
    later = {"none": len(starts) * (prompt + answer), "prefix": sum(answer - s for s in starts), "dual": answer}[cache]
    return len(starts) * (prompt + answer) + (steps - 1) * later


def numpy_integer(prompt, answer, block, steps, cache):
    return np.int64(in_closed_form(prompt, answer, block, steps, cache))


RIGHT = [forward_by_forward, closed_form, numpy_integer]
