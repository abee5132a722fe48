"""Experiments that take longer than a notebook may: `python -m dlmlab measure NAME` stores their tables under
`data/results`.

A notebook loads the table (`read`), shows it, and repeats a slice of it live (`agreement`), so a stored number that
the code no longer gives is found. One module for each notebook; `EXPERIMENTS` names their entry points, each called
with a function that prints a line.
"""

from dlmlab.experiments import caches, objective, pruning, sampling, sink_growth, sinks
from dlmlab.experiments.store import RESULTS, agreement, measured, read, select

__all__ = [
    "EXPERIMENTS",
    "RESULTS",
    "agreement",
    "caches",
    "measured",
    "objective",
    "pruning",
    "read",
    "sampling",
    "select",
    "sink_growth",
    "sinks",
]

EXPERIMENTS = {
    "01_sampling": sampling.sampling_frontier,
    "02_bounds": objective.bounds,
    "02_samples": objective.samples,
    "03_bottle": sink_growth.bottles,
    "03_movement": sinks.movements,
    "03_necessity": sinks.necessity,
    "03_sweep": sink_growth.sweep,
    "04_blocks": pruning.blocks,
    "04_calibration": pruning.calibrations,
    "04_recovery": pruning.recoveries,
    "04_released": pruning.released,
    "04_schedules": pruning.schedules,
    "04_sinks": pruning.ablation,
    "04_sparsity": pruning.sweep,
    "04_structured": pruning.structure,
    "04_timesteps": pruning.timesteps,
    "08_drift": caches.drift_table,
    "08_front": caches.front,
}
