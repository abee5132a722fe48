"""The control of a rule that decides by itself how many forwards it takes: a blind schedule that got as many."""

from collections.abc import Sequence


def fair_control(schedules: Sequence[dict], nfe: float) -> dict:
    """Choose the blind schedule that a rule with `nfe` forwards a problem has to beat.

    It has at least as many forwards, and as few as that allows; of several with as many, the most accurate. Each
    schedule is a row of a table with `nfe` and `exact_match`. Raises `ValueError` when none has as many forwards.

    >>> fair_control([{"nfe": 2.0, "exact_match": 0.6}, {"nfe": 5.0, "exact_match": 0.7}], 2.6)["nfe"]
    5.0
    """
    enough = [row for row in schedules if row["nfe"] >= nfe]
    if not enough:
        most = max((row["nfe"] for row in schedules), default=0)
        raise ValueError(f"nfe={nfe:g} is outside 0 to {most:g}: no schedule has as many forwards")
    return min(enough, key=lambda row: (row["nfe"], -row["exact_match"]))
