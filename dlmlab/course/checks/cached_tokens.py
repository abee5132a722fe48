"""Exercise 8.1. Prompt, answer, block and steps all differ; a last block that is shorter; a single step; then random
cases, counted position by position."""

import numbers
from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, Cases, require
from dlmlab.course.exercises import Exercise


def check_cached_tokens(fn: Callable) -> None:
    """Judge an answer to 8.1."""

    def run(*case) -> int:
        tokens = fn(*case)
        require(tokens is not None, NOTHING)
        require(
            isinstance(tokens, numbers.Integral),
            f"the result is a {type(tokens).__name__}, it should be an int: tokens are counted",
        )
        return tokens

    def expect(case: tuple, right: int, why: str) -> None:
        tokens = run(*case)
        require(tokens == right, f"{why}: {tokens} instead of {right} tokens for {case}")

    expect((7, 4, 4, 3, "none"), 33, "without a cache every forward reads prompt and answer")
    expect((7, 8, 4, 3, "none"), 90, "every block takes `steps` forwards, so two blocks take twice as many")
    for cache in ("none", "prefix", "dual"):
        expect(
            (5, 12, 4, 1, cache), 51, "with one step a block there is only the first forward, which reads everything"
        )
    expect((5, 4, 4, 3, "prefix"), 17, "after the first forward of a block the prompt is not read again")
    expect((5, 8, 4, 3, "prefix"), 50, "the prefix cache reads the block and all after it; finished blocks are cached")
    expect((5, 8, 4, 3, "dual"), 42, "the dual cache reads the block alone; what comes after it is cached too")
    expect((5, 10, 4, 2, "dual"), 55, "the last block has only the tokens that are left")
    expect((5, 10, 4, 2, "prefix"), 63, "the last block has only the tokens that are left")
    draw = Cases(0)
    for i in range(150):
        cache = ("none", "prefix", "dual")[i % 3]
        case = (draw.int(0, 30), draw.int(0, 40), draw.int(1, 12), draw.int(1, 9), cache)
        expect(case, _counted(*case), "every position that a forward reads counts once")


def _counted(prompt: int, answer: int, block: int, steps: int, cache: str) -> int:
    text, tokens = range(prompt + answer), 0
    for start in text[prompt::block]:
        for forward in range(steps):
            for position in text:
                inside, later = start <= position < start + block, position >= start
                tokens += forward == 0 or {"none": True, "prefix": later, "dual": inside}[cache]
    return tokens


EXERCISE = Exercise(
    id="8.1",
    title="Count what a cache saves",
    minutes=10,
    difficulty=2,
    objective="Predict the tokens through the network before measuring anything.",
    path="dlmlab.cost.cached_tokens",
    stub='''\
def cached_tokens(prompt: int, answer: int, block: int, steps: int, cache: str) -> int:
    """Count the tokens one row sends through the network when every block takes `steps` forwards.

    The first forward of a block reads the whole text. The others read: with cache "none" the whole text, with
    "prefix" the block and all after it, with "dual" the block. The last block may be shorter.
    """
    raise NotImplementedError
''',
    hints=(
        "What does one block cost: its first forward, and each of the others? Then add up the blocks.",
        "Go through the blocks by their start: the first forward reads everything, steps - 1 more read a part of it.",
        "for start in range(0, answer, block): later forwards read all, answer - start, or min(block, answer - start).",
    ),
    check=check_cached_tokens,
)
