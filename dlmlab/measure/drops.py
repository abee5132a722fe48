"""What a loss of accuracy is a share of: points, percent of what was there, or of what was there above chance."""


def share_lost(before: float, after: float, chance: float = 0.0) -> float:
    """Say which share of what a model had above chance is lost: 0 nothing, 1 all of it.

    `before`, `after`: accuracies, in one unit; `chance`: what a guess without a model has, in the same unit. Raises
    `ValueError` when there was nothing above chance to lose.

    >>> share_lost(0.75, 0.625, chance=0.5), share_lost(0.75, 0.5, chance=0.5), share_lost(0.5, 0.25)
    (0.5, 1.0, 0.5)
    """
    if before <= chance:
        raise ValueError(f"before={before:g} is not above chance={chance:g}: there is nothing to lose")
    return (before - after) / (before - chance)
