"""Exercise 19.3. Find the error of a measure: refusals, answers, nonsense, with a part of the answer given or not."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import NOTHING, Cases, require, untouched
from dlmlab.course.exercises import Exercise


def check_outcome(fn: Callable) -> None:
    """Judge an answer to 19.3."""

    def run(wrote: Tensor | list[int], end: int, correct: bool) -> str:
        wrote = torch.as_tensor(wrote)
        with untouched(wrote=wrote):
            found = fn(wrote, end, correct)
        require(found is not None, NOTHING)
        require(isinstance(found, str), f"the result is a {type(found).__name__}, it should be a text")
        require(found in ("answered", "refused", "other"), f"{found!r} is none of answered, refused, other")
        return found

    require(
        run([5, 9, 0, 0], 0, False) != "answered",
        "no refusal and no true answer was counted as answered: nonsense is neither",
    )
    require(
        run([0, 5, 9, 0], 0, True) == "answered",
        "an end mark at the first open place, and then a true answer: the first token is not the whole",
    )
    require(run([0, 5, 9, 0], 0, False) == "other", "one end mark and then tokens that are no answer: neither")
    require(run([5, 0, 0, 0], 0, False) == "other", "a token and then only end marks is no refusal: all must be")
    require(run([0, 0, 0], 0, False) == "refused", "end marks only: refused")
    require(
        run([0, 0], 0, True) == "refused",
        "end marks only, and the given part held the answer already: the model added nothing, it refused",
    )
    require(run([5, 9, 0], 0, True) == "answered", "a true answer: answered")
    require(run([5, 9], 5, False) == "other" and run([5, 5], 5, False) == "refused", "the end mark is `end`, not 0")
    draw = Cases(193)
    for _ in range(40):
        end, correct = draw.int(0, 3), bool(draw.int(0, 1))
        wrote = torch.where(draw.bools(draw.int(1, 9), share=0.2), draw.ids(4, 1), end)
        right = "refused" if all(t == end for t in wrote.tolist()) else ("answered" if correct else "other")
        found = run(wrote, end, correct)
        require(found == right, f"wrote {wrote.tolist()}, end {end}, correct {correct}: {found}, it should be {right}")


EXERCISE = Exercise(
    id="19.3",
    title="What counts as success: find the bug",
    minutes=5,
    difficulty=2,
    objective="Measure an attack so that neither nonsense nor a refusal in other words counts as a success.",
    path="dlmlab.outcome.outcome",
    kind="find the bug",
    stub='''\
def outcome(wrote: Tensor, end: int, correct: bool) -> str:
    """Judge what a model wrote at the places that were open to it, (n,) ids: "answered", "refused" or "other".

    A refusal is end marks only; `correct` is what a verifier says of the whole answer.
    """
    if wrote[0] == end:
        return "refused"
    return "answered"
''',
    hints=(
        "Write down three answers that are neither a refusal nor true. What does the function call them?",
        "Two questions, in this order: is every token that the *model* wrote an end mark? If not, what does the "
        "verifier say?",
        'if (wrote == end).all(): return "refused"; return "answered" if correct else "other"',
    ),
    check=check_outcome,
)
