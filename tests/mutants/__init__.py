"""Answers to the exercises, wrong and right, that their checks must tell apart; one module for each exercise.

`MUTANTS` maps a wrong answer to words its failure message must contain: the name of the misconception. Each differs
from a right answer by one mistake. `RIGHT` lists right answers written otherwise than the course's own: a check that
refuses one of them tests an implementation, not the behaviour.
"""

from tests.mutants import (
    cut_at_end,
    forward_process,
    guided_logits,
    gumbel_argmax,
    num_transfer_tokens,
    threshold_commit,
)

ANSWERS = {
    "0.1": cut_at_end,
    "1.1": forward_process,
    "1.2": num_transfer_tokens,
    "1.3": gumbel_argmax,
    "1.4": threshold_commit,
    "1.5": guided_logits,
}
