"""Exercise 1.2. Looked at: length, sum, evenness and order of the parts, for every size up to forty."""

import numbers
from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, require
from dlmlab.course.exercises import Exercise


def check_num_transfer_tokens(fn: Callable) -> None:
    """Judge an answer to 1.2."""
    named = ((10, 4), (11, 4), (3, 5), (0, 3), (7, 1), (12, 4), (29, 7), (1, 1))
    for masks, steps in (*named, *((m, s) for m in range(41) for s in (1, 2, 3, 5, 8, 13, 40))):
        parts = fn(masks, steps)
        require(parts is not None, NOTHING)
        require(isinstance(parts, list), f"the result is a {type(parts).__name__}, it should be a list of {steps} int")
        whole = all(isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in parts)
        require(whole, f"{parts} should hold whole numbers of type int")
        case = f"for {masks} masks in {steps} steps: {parts}"
        require(
            len(parts) == steps, f"{len(parts)} numbers {case}; a step that commits nothing stays in the list, as 0"
        )
        lost = masks - sum(parts)
        require(lost <= 0, f"{lost} masks are lost {case}; rounding down forgets the remainder")
        require(lost >= 0, f"{-lost} too many {case}; rounding up spends the remainder more than once")
        require(max(parts) - min(parts) <= 1, f"uneven {case}; parts may differ by 1 at most: share out the remainder")
        require(parts == sorted(parts, reverse=True), f"the larger parts must come first {case}")


EXERCISE = Exercise(
    id="1.2",
    title="Share masks among steps",
    minutes=5,
    difficulty=1,
    objective="Plan how many tokens each step commits.",
    path="dlmlab.commit.num_transfer_tokens",
    stub='''\
def num_transfer_tokens(masks: int, steps: int) -> list[int]:
    """Spread `masks` commits over `steps` steps as evenly as possible, the larger parts first.

    One int a step; a step may get 0. masks >= 0, steps >= 1. Example: 10 masks in 4 steps are [3, 3, 2, 2].
    """
    raise NotImplementedError
''',
    hints=(
        "Deal the masks out like cards, one round after the other: who gets one more than the others?",
        "Whole numbers only: every step gets the quotient, the first steps, as many as the remainder, one more.",
        "divmod(masks, steps) gives quotient and remainder; step i gets one more while i is below the remainder.",
    ),
    check=check_num_transfer_tokens,
)
