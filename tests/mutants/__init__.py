"""Answers to the exercises, wrong and right, that their checks must tell apart; one module for each exercise.

`MUTANTS` maps a wrong answer to words its failure message must contain: the name of the misconception. Each differs
from a right answer by one mistake. `RIGHT` lists right answers written otherwise than the course's own: a check that
refuses one of them tests an implementation, not the behaviour.
"""

import importlib

from dlmlab.course.exercises import registry

# The module is named like the course's function: tests/mutants/forward_process.py for 1.1.
ANSWERS = {id: importlib.import_module(f"tests.mutants.{e.path.rpartition('.')[2]}") for id, e in registry().items()}
