"""One module for each exercise: its check, its stub, its hints. `EXERCISES` lists them in the order of the course.

Inputs are chosen so that look-alike bugs separate: rows with different times and mask counts, rows at t = 0 and t = 1,
token id 0 in the data, shapes that are not square, scores below zero, guidance weights other than 0 and 1.
"""

from dlmlab.checks import (
    cut_at_end,
    forward_process,
    guided_logits,
    gumbel_argmax,
    num_transfer_tokens,
    threshold_commit,
)

_IN_ORDER = (
    cut_at_end,
    forward_process,
    num_transfer_tokens,
    gumbel_argmax,
    threshold_commit,
    guided_logits,
)
EXERCISES = tuple(module.EXERCISE for module in _IN_ORDER)
