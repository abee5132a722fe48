"""Experiments that take longer than a notebook may: `python -m dlmlab measure NAME` stores their tables under
`data/results`.

A notebook loads the table (`dl.store.read`), shows it, and repeats a slice of it live (`dl.store.agreement`), so a
stored number that the code no longer gives is found. One module for each notebook or part of one; `EXPERIMENTS` names
their entry points, each called with a function that prints a line. A module is imported when its table is made.
"""

import importlib
from collections.abc import Callable

EXPERIMENTS = {
    "01_sampling": "nb01_sampling.sampling_frontier",
    "02_bounds": "nb02_objective.bounds",
    "02_samples": "nb02_objective.samples",
    "03_bottle": "nb03_growth.bottles",
    "03_bottles": "nb03_bottles.bottles",
    "03_movement": "nb03_sinks.movements",
    "03_necessity": "nb03_sinks.necessity",
    "03_sweep": "nb03_growth.sweep",
    "04_blocks": "nb04_blocks.blocks",
    "04_calibration": "nb04_texts.calibrations",
    "04_recovery": "nb04_recovery.recoveries",
    "04_released": "nb04_sinks.released",
    "04_schedules": "nb04_schedules.schedules",
    "04_sinks": "nb04_sinks.ablation",
    "04_sparsity": "nb04_sparsity.sweep",
    "04_structured": "nb04_structure.structure",
    "04_timesteps": "nb04_levels.timesteps",
    "08_drift": "nb08_caches.drift_table",
    "08_front": "nb08_caches.front",
}


def experiment(name: str) -> Callable:
    """Return the function that makes a stored table. Raises `ValueError` listing the known names."""
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment {name!r} is unknown; known: {', '.join(EXPERIMENTS)}")
    module, function = EXPERIMENTS[name].split(".")
    return getattr(importlib.import_module(f"{__name__}.{module}"), function)
