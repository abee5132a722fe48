"""Predict before you look: a number is written down, then the cell that measures it compares.

    dl.predictions.predict("1.7", None)     # your number in place of None
    dl.predictions.reveal("1.7", measured)  # below, where it is measured

Decisions
* A prediction is neither right nor wrong: the scoreboard says that it was made. What teaches is the distance, and
  that it was written down *before*; one that comes after the number was shown says "answer seen".
* The number to guess is measured in the notebook or read from a stored table, so it may change with the model.
"""

import math
from dataclasses import dataclass
from functools import cache

OPEN, PREDICTED, SEEN = "open", "predicted", "answer seen"


@dataclass(frozen=True)
class Prediction:
    """A number to be guessed, between `low` and `high`, in a `unit`; the rest as in `dlmlab.exercises.Exercise`."""

    id: str
    title: str
    minutes: int
    difficulty: int
    objective: str
    question: str
    low: float
    high: float
    unit: str = ""

    @property
    def notebook(self) -> str:
        """Number of the notebook: "1.7" is in "01"."""
        return self.id.split(".")[0].zfill(2)


@dataclass
class _Made:
    guess: float | None = None
    shown: bool = False  # the measured number was shown in this process
    late: bool = False  # the guess was made after that


_MADE: dict[str, _Made] = {}  # of this process


@cache
def registry() -> dict[str, Prediction]:
    """List every prediction by its id."""
    from dlmlab.course.checks.questions import PREDICTIONS  # here, because the questions import `Prediction`

    return {prediction.id: prediction for prediction in PREDICTIONS}


def predict(id: str, guess: float | None) -> None:
    """Write a prediction down; None leaves it open. Raises `ValueError` for an unknown id or a number out of range.

    >>> predict("1.7", None)
    1.7: end marks among the first half of the tokens committed, 0 to 20: no prediction yet, write a number for None
    """
    question, made = _find(id), _MADE.setdefault(id, _Made())
    asked = f"{id}: {question.question}, {question.low:g} to {question.high:g}"
    if guess is None:
        made.guess = None
        print(f"{asked}: no prediction yet, write a number for None")
        return
    value = float(guess)
    if not (math.isfinite(value) and question.low <= value <= question.high):
        raise ValueError(f"guess={guess!r} is outside {question.low:g} to {question.high:g}")
    made.guess, made.late = value, made.shown
    print(f"{asked}: you say {value:g}")


def reveal(id: str, value: float) -> None:
    """Print the measured number beside the prediction. Raises `ValueError` for an unknown id."""
    question, made = _find(id), _MADE.setdefault(id, _Made())
    made.shown = True
    measured = f"{id}: measured {value:.3g}{' ' * bool(question.unit)}{question.unit}"
    if made.guess is None:
        print(f"{measured}; no prediction was made")
        return
    off = made.guess - value
    share = abs(off) / (question.high - question.low)
    verdict = "close" if share <= 0.1 else "too high" if off > 0 else "too low"
    print(f"{measured}; you said {made.guess:g}: {verdict}")


def state(id: str) -> str:
    """Say whether a prediction was made, and whether before the number was shown."""
    made = _MADE.get(id, _Made())
    return OPEN if made.guess is None else SEEN if made.late else PREDICTED


def _find(id: str) -> Prediction:
    if id not in registry():
        raise ValueError(f"prediction {id!r} is unknown; known: {', '.join(registry())}")
    return registry()[id]
