"""Choose and judge on different problems: what helped to make or to choose a model may not judge it.

calibration   is looked at to make every candidate
validation    is looked at to choose among them
test          is looked at once, for the one that was chosen
"""

from collections.abc import Callable, Iterable, Mapping


def choose_and_judge(
    candidates: Iterable[str],
    make: Callable[[str, object], object],
    loss: Callable[[object, object], float],
    splits: Mapping[str, object],
) -> tuple[str, float]:
    """Choose the best of several candidates and say how good it is: its name and its loss on the test split.

    `make(name, texts)` makes a candidate from texts, `loss(made, texts)` judges one, low is good; of equal losses the
    first name wins. `splits` holds "calibration", "validation" and "test". The minimum of several losses is lower than
    it will be on new problems, so the loss by which one was chosen is never the one to report.

    >>> loss = lambda made, texts: len(made) + texts
    >>> choose_and_judge(["long", "a"], lambda name, texts: name, loss, {"calibration": 0, "validation": 1, "test": 2})
    ('a', 3)
    """
    made = {name: make(name, splits["calibration"]) for name in candidates}
    best = min(made, key=lambda name: loss(made[name], splits["validation"]))
    return best, loss(made[best], splits["test"])
