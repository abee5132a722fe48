"""A monitor gives every request a score and raises an alarm above a threshold. How good is it, and who is bothered?

Decisions
* The threshold is chosen on validation requests, from the *allowed* ones alone: it is a promise about false alarms.
* Chosen on the test, it keeps that promise there by construction, and the number says nothing.
* The area under the ROC curve needs no threshold: it compares scores, not systems in use.
"""

import math

import torch
from torch import Tensor


def alarms(scores: Tensor, validation: Tensor, allowed: Tensor, at_most: float) -> Tensor:
    """Say on which requests a monitor raises an alarm: those above a threshold that validation sets, (P,) bool.

    The threshold is one of the scores of allowed validation requests, the least one above which lies a share of at most
    `at_most` of them (`at_most` < 1). Shapes: scores (P,) of the requests to judge, validation (n,) of others, allowed
    (n,) bool, of which requests among these are allowed.

    >>> seen, allowed = torch.tensor([0.1, 0.9, 0.2, 0.3, 0.4]), torch.tensor([True, False, True, True, True])
    >>> alarms(torch.tensor([0.35, 0.3, 0.6]), seen, allowed, 0.25).tolist()
    [True, False, True]
    """
    quiet = validation[allowed].sort().values  # (m,)
    may = math.floor(at_most * len(quiet) + 1e-9)  # so many false alarms
    return scores > quiet[len(quiet) - 1 - may]


def area(positive: Tensor, negative: Tensor) -> float:
    """Give the area under the ROC curve: how often a positive score is above a negative one, ties count half.

    >>> area(torch.tensor([0.9, 0.5]), torch.tensor([0.5, 0.1]))
    0.875
    """
    gap = positive[:, None] - negative[None]
    return float(((gap > 0).double() + (gap == 0).double() / 2).mean())


def curve(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Give the ROC curve: shares of false and of true alarms at every threshold from infinity down, (T,) each."""
    at = torch.cat([torch.tensor([math.inf]), torch.cat([positive, negative]).unique().flip(0)])
    false, true = ((x[None] >= at[:, None]).double().mean(1) for x in (negative, positive))
    return false, true
