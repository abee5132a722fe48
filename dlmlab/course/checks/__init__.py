"""One module for each exercise: its check, its stub, its hints. `EXERCISES` lists them in the order of their ids.

Inputs are chosen so that look-alike bugs separate: rows with different times and mask counts, rows at t = 0 and t = 1,
token id 0 in the data, shapes that are not square, scores below zero, guidance weights other than 0 and 1.
"""

import importlib
import pkgutil

_modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
EXERCISES = tuple(
    sorted(
        (module.EXERCISE for module in _modules if hasattr(module, "EXERCISE")),
        key=lambda exercise: [int(part) for part in exercise.id.split(".")],
    )
)
