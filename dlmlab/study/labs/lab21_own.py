"""Lab 21: claims of this course that fell, and which of the six questions took them down; numbers from its tables.

What was said and what took its place stand in the notebooks; the list is a choice.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dlmlab.study.labs import lab21_measured as measured


@dataclass(frozen=True)
class Fallen:
    """A claim, what it rested on, the question that was not asked, and what the answer was."""

    notebook: str
    said: str
    question: str
    then: Callable[[], str]
    now: Callable[[], str]


def _points(name: str, key: str) -> Callable[[], str]:
    return lambda: f"{measured.quoted(name, key):+.1f}"


def _plain(text: str, *keys: tuple[str, str]) -> Callable[[], str]:
    return lambda: text.format(*(measured.number(name, key) for name, key in keys))


FALLEN = (
    Fallen(
        "01",
        "a threshold beats left to right",
        "baseline",
        _points("01_sampling", "threshold against left to right, 5 forwards"),
        _points("01_sampling", "threshold against left to right, stop at end, 6 forwards"),
    ),
    Fallen(
        "03",
        "the answer mark is read",
        "control",
        _plain("hidden {:+.1f} nats", ("03_marks", "llada-mini hide answer mark")),
        _plain("its mean value {:+.3f}", ("03_marks", "llada-mini mean answer mark")),
    ),
    Fallen(
        "03",
        "idle heads park on masks, in every run",
        "n and seeds",
        lambda: "three seeds",
        _plain("{:.0f} of {:.0f} seeds", ("03_bottles", "diffusion half"), ("03_bottles", "diffusion seeds")),
    ),
    Fallen(
        "06",
        "pruning and rounding loses to fewer bits",
        "baseline",
        _points("06_orders", "points, P->Q - 3 bits"),
        _points("06_orders", "points, 3 bits, neurons 50%, first block 62% - 2 bits"),
    ),
    Fallen(
        "08",
        "left to right in five is as good as a threshold",
        "n and seeds",
        _plain(
            "{:.2f} and {:.2f}, {:.0f} problems",
            ("08_front", "left to right, 5 forwards"),
            ("08_front", "threshold, tau 0.9"),
            ("08_front", "problems"),
        ),
        _plain(
            "{:.3f} and {:.3f}, {:.0f} problems",
            ("01_sampling", "left to right, Fixed(steps=5)"),
            ("01_sampling", "threshold, Threshold(tau=0.9, strict=False)"),
            ("01_sampling", "threshold, Threshold(tau=0.9, strict=False), n"),
        ),
    ),
    Fallen(
        "10",
        "the best token for 8 draws hurts 8 texts, in any order",
        "control",
        _points("10_proposals", "one of 8, 10, left_to_right best of 8"),
        _points("10_proposals", "one of 8, 10, probability best of 8"),
    ),
    Fallen(
        "13",
        "a planner repairs its errors",
        "control",
        _points("13_exchanged", "exchange P2 0.5, 5 - probability"),
        _points("13_exchanged", "exchange P2 0.5, 5 - left to right"),
    ),
)


def lines() -> list[dict[str, str]]:
    """Lay the list out as rows of a text table."""
    return [
        {"nb": f.notebook, "said": f.said, "rested on": f.then(), "asked too late": f.question, "then": f.now()}
        for f in FALLEN
    ]
