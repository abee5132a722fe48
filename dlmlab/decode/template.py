"""An answer of which a part is given: what stands there before a masked model begins to write.

A causal model can be given the beginning of its answer. A masked model can be given any part of it, at its place: this
is infilling, and it is how the answer of such a model is steered from outside.

Source of the shape: DIJA, arXiv 2507.11097 (text interleaved with masks).
"""

import torch
from torch import Tensor


def template(solution: Tensor, shown: Tensor, length: int, mask_id: int) -> Tensor:
    """Build the answer window in which some tokens of a solution are given: (length,) ids.

    A token of `solution` stands at its own place where `shown` is True. All else is the mask, also what comes after
    the solution: where an answer ends is not given away. Shapes: solution (S,) ids, shown (S,) bool, S <= length.
    Raises `ValueError` for a solution that does not fit.

    >>> template(torch.tensor([7, 8, 9]), torch.tensor([False, True, False]), 5, mask_id=1).tolist()
    [1, 8, 1, 1, 1]
    """
    if len(solution) > length or solution.shape != shown.shape:
        raise ValueError(f"{len(solution)} tokens, {len(shown)} of them judged, in a window of {length}")
    window = torch.full((length,), mask_id, dtype=solution.dtype)
    window[: len(solution)] = torch.where(shown, solution, mask_id)
    return window


def blanked(answer: Tensor, given: Tensor, mask_id: int) -> Tensor:
    """Take out of an answer what was given from outside, and leave what the model wrote: (..., G) ids."""
    return torch.where(given == mask_id, answer, mask_id)
