"""Experiments that take longer than a notebook may: `python -m dlmlab measure NAME` stores their tables under
`data/results`.

A notebook loads the table (`read`), shows it, and repeats a slice of it live (`agreement`), so a stored number that
the code no longer gives is found. One module for each notebook; `EXPERIMENTS` names their entry points, each called
with a function that prints a line.
"""

from dlmlab.experiments import sampling, sinks
from dlmlab.experiments.store import RESULTS, agreement, read

__all__ = ["EXPERIMENTS", "RESULTS", "agreement", "read", "sampling", "sinks"]

EXPERIMENTS = {"01_sampling": sampling.sampling_frontier, "03_sweep": sinks.sweep}
