"""How good probabilities were, once it is known what happened: the Brier score, held against a constant.

A reader who says "wrong" to everything is often right and knows nothing. So the score of a reader is compared with that
of the best constant: one probability for all cases, the share that happened. It needs no reading at all.

Source: Brier 1950, Verification of forecasts expressed in terms of probability; the comparison is Murphy's skill score.
"""

from collections.abc import Sequence


def brier(said: Sequence[float], happened: Sequence[bool]) -> float:
    """Give the mean of (said - happened)^2: 0 for a sure and right reader, 1 for a sure and wrong one, a quarter for a
    coin.

    `said`: probabilities, 0 to 1, one a case; `happened`: whether each came true. Raises `ValueError` for lists that
    are empty or not equally long, and for what is no probability.

    >>> brier([1.0, 0.5, 0.0], [True, True, True])
    0.4166666666666667
    """
    if not said or len(said) != len(happened):
        raise ValueError(f"need two equally long, non-empty lists, got {len(said)} and {len(happened)}")
    if wrong := [p for p in said if not 0 <= p <= 1]:
        raise ValueError(f"said={wrong[0]!r} is no probability: must be 0 to 1")
    return sum((p - bool(h)) ** 2 for p, h in zip(said, happened, strict=True)) / len(said)


def skill(said: Sequence[float], happened: Sequence[bool]) -> float:
    """Say which share of the best constant's Brier score a reader saves: 1 - brier(said) / brier(constant).

    1: sure and right everywhere. 0: no better than the constant, which is the share that happened. Below 0: worse.
    Raises `ValueError` where all or none happened (a constant is perfect there), and as `brier`.

    >>> skill([0.5, 0.5], [True, False]), skill([1.0, 0.0], [True, False]), skill([0.0, 1.0], [True, False])
    (0.0, 1.0, -3.0)
    """
    own = brier(said, happened)
    share = sum(map(bool, happened)) / len(happened)
    if share in (0, 1):
        raise ValueError("all or none happened: a constant is perfect, and there is nothing to compare with")
    return 1 - own / brier([share] * len(happened), happened)
