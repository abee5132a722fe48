"""Exercise 15.3. Find the error of an account: models of some sizes, codecs that save much, little and nothing."""

import math
from collections.abc import Callable
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise


def check_pays_after(fn: Callable) -> None:
    """Judge an answer to 15.3."""

    def run(model_bytes: float, ours: float, theirs: float) -> float:
        found = fn(model_bytes, ours, theirs)
        require(found is not None, NOTHING)
        require(isinstance(found, Real), f"the result is a {type(found).__name__}, it should be a number")
        return float(found)

    got = run(1000, 5, 30)
    for message, wrong in {
        "our codec writes something for every text, too: what a text saves is the difference": 1000 / 30,
        "that is after how many texts our bytes are as many as the model's; what does the other codec pay?": 200,
        "the model is sent once, not with every text: it is divided by what one text saves": 1005 / 30,
        "both codecs are added: a text saves theirs less ours": 1000 / 35,
        "a factor saves nothing by itself: count bytes": 1000 * 5 / 30,
    }.items():
        require(not close(got, wrong), message)
    require(close(got, 40), f"1000 + 5 N = 30 N has the solution 40, not {got:.2f}")
    require(close(run(100, 0, 7), 100 / 7), "100 bytes at 7 a text are 14.29 texts: not a whole number, do not round")
    for theirs in (5, 4):
        try:
            never = run(1000, 5, theirs)
        except ZeroDivisionError:
            raise AssertionError("as many bytes as theirs: no number of texts pays, infinity") from None
        require(
            never == math.inf,
            f"where ours are no fewer, no number of texts pays for the model: infinity, not {never:.2f}",
        )
    draw = Cases(153)
    for _ in range(30):
        model, ours, saved = draw.int(0, 10**4), draw.int(0, 400) / 4, draw.int(1, 300) / 4
        found, right = run(model, ours, ours + saved), model / saved
        require(close(found, right), f"a model of {model} bytes that saves {saved:g}: {found:.2f}, not {right:.2f}")


EXERCISE = Exercise(
    id="15.3",
    title="Who pays for the model: find the bug",
    minutes=5,
    difficulty=2,
    objective="Count a model's bytes into what it compresses.",
    path="dlmlab.coding.pays_after",
    kind="find the bug",
    stub='''\
def pays_after(model_bytes: float, ours: float, theirs: float) -> float:
    """Say after how many texts a codec that brings its model is smaller than one that has none.

    `ours`, `theirs`: bytes a text. Infinity where no number of texts pays for the model.
    """
    return model_bytes / theirs  # so many texts of the other codec are as large as the model
''',
    hints=(
        "Write down the bytes of both after N texts. Which of them grow with N?",
        "Set both sums of bytes equal and solve for N. What does it mean when it is negative, or has no value?",
        "model_bytes / (theirs - ours) if theirs > ours else math.inf",
    ),
    check=check_pays_after,
)
