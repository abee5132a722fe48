"""Experiments that take longer than a notebook may: `python -m dlmlab measure NAME` stores their tables under
`data/results`.

A notebook loads the table (`read`), shows it, and repeats a slice of it live (`agreement`), so a stored number that
the code no longer gives is found. One module for each notebook; `EXPERIMENTS` names their entry points, each called
with a function that prints a line.
"""

from dlmlab.experiments import pruning, sampling, sinks
from dlmlab.experiments.store import RESULTS, agreement, read

__all__ = ["EXPERIMENTS", "RESULTS", "agreement", "pruning", "read", "sampling", "sinks"]

EXPERIMENTS = {"01_sampling": sampling.sampling_frontier, "03_sweep": sinks.sweep} | {
    "04_sparsity": pruning.sweep,
    "04_sinks": pruning.ablation,
    "04_released": pruning.released,
    "04_calibration": pruning.calibrations,
    "04_schedules": pruning.schedules,
    "04_timesteps": pruning.timesteps,
    "04_structured": pruning.structure,
    "04_recovery": pruning.recoveries,
}
