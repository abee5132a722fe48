"""dlmlab: efficient diffusion language models, small enough to read.

import dlmlab as dl
model, tokenizer = dl.load("llada-mini")
"""

import importlib

from dlmlab.paths import give_matplotlib_a_folder

_MODULES = (
    "activations adaptive autoregressive batches bayes bench bottle cache calibration checkpoint commit config cost "
    "doctor drift evaluate exercises experiments focus frames guard interface interventions kv ledger limits "
    "literal manifest methods model moments muon noise paths plotting positions priors prompts pruning refresh "
    "sampling selection sinks sparse sparsegpt speedrun structured tables tasks tokenizer trace training "
    "trajectories widgets"
).split()
_NAMES = {
    "load": "checkpoint",
    "Sampler": "sampling",
    "Fixed": "commit",
    "Threshold": "commit",
    "Factor": "commit",
    "EntropyBound": "commit",
}
__all__ = [*_MODULES, *_NAMES]


give_matplotlib_a_folder()


def __getattr__(name: str):
    """Import modules when they are first used: `python -m dlmlab --help` should not wait for torch."""
    if name in _MODULES:
        return importlib.import_module(f"dlmlab.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"dlmlab.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'dlmlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
