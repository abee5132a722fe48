"""Choose on validation problems, report on test problems, once.

The least of several noisy numbers is low partly because of its noise. Whatever was looked at to choose is therefore
no measurement of what was chosen: it flatters, the more so the more candidates there were and the fewer problems.

Source: own; the winner's curse of a maximum over noisy scores, as in Cawley and Talbot, JMLR 11 (2010), 2079-2107;
notebook 06, exercise 6.4.
"""

from collections.abc import Callable, Sequence


def choose_once(candidates: Sequence[dict], measure: Callable[[dict, str], float], budget: float) -> dict:
    """Choose the best model within a budget and measure the chosen one on the test split, once.

    Candidates are rows with "bytes". `measure(row, split)` gives nats an answer, lower is better; split is "validation"
    or "test". Chosen is the lowest on validation of those with at most `budget` bytes; of equal ones the smaller, then
    the earlier. Returns a copy of its row with "validation" and "test" added. Raises `ValueError` when none fits, and
    says how many bytes are missing.
    """
    allowed = [row for row in candidates if row["bytes"] <= budget]
    if not allowed:
        least = min((row["bytes"] for row in candidates), default=float("inf"))
        raise ValueError(f"no candidate has {budget:,} bytes or fewer: the smallest has {least - budget:,} more")
    scored = [(measure(row, "validation"), row) for row in allowed]
    validation, best = min(scored, key=lambda pair: (pair[0], pair[1]["bytes"]))
    return best | {"validation": validation, "test": measure(best, "test")}
