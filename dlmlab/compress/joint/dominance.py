"""Which of several models nobody has to consider, because another is at least as good in everything.

a dominates b when a is no worse in every objective and better in one. All objectives are to be lowered: nats, bytes,
milliseconds, forwards, and the share of wrong answers rather than of right ones.

Decisions
* Equal points do not dominate each other: both are candidates, and dropping one would depend on the order.
* The relation asks only for order, so no unit and no weight has to be chosen. That is its use and its limit: a point
  that is worse by a hair in everything is gone, one that is better by a hair in one thing stays.

Source: Pareto dominance as in Zitzler and Thiele, doi 10.1109/4235.797969; notebook 06, exercise 6.1.
"""

from torch import Tensor


def undominated(points: Tensor) -> Tensor:
    """Mark the points that no other point dominates: no coordinate larger and one smaller.

    Equal points both stay; inf (a budget that was missed) is a coordinate like any other. Raises `ValueError` for nan,
    which is neither better nor worse than anything.

    Shapes: points (N, M), one row a model, one column an objective to be lowered -> (N,) bool.

    >>> import torch
    >>> undominated(torch.tensor([[1.0, 3.0], [2.0, 2.0], [2.0, 3.0]])).tolist()
    [True, True, False]
    """
    if bool(points.isnan().any()):
        raise ValueError("a point holds nan: it can be compared with no other")
    no_worse = (points[:, None] <= points[None]).all(-1)  # (N, N): row i is at least as good as row j
    better = (points[:, None] < points[None]).any(-1)
    return ~(no_worse & better).any(0)
