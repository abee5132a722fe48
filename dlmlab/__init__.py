"""dlmlab: efficient diffusion language models, small enough to read.

import dlmlab as dl
model, tokenizer = dl.load("llada-mini")

The modules stand in rooms (`ROOMS`), or in a package of a room, and the short name of each is its file's:
`dl.sampling` is `dlmlab.decode.sampling`, `dl.gptq` is `dlmlab.compress.quant.gptq`. A room imports itself and the
rooms before it.
"""

import importlib

from dlmlab.paths import PACKAGE, give_matplotlib_a_folder

ROOMS = ("task", "network", "objective", "decode", "attention", "compress", "measure", "study", "course")
CLOSED = ("bench", "checks")  # packages whose modules are parts of one thing and have no short names


def _short_names() -> dict[str, str]:
    """Map the name of each module and package in a room to its full name."""
    found = {}
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            inside = path.parent if path.stem == "__init__" else path.with_suffix("")
            if inside.parent.name not in CLOSED:
                found[inside.stem] = ".".join(("dlmlab", *inside.relative_to(PACKAGE).parts))
    return found


_MODULES = _short_names()
_NAMES = {
    "load": "checkpoint",
    "Sampler": "sampling",
    "Fixed": "commit",
    "Threshold": "commit",
    "Factor": "commit",
    "EntropyBound": "commit",
}
__all__ = [*_MODULES, *_NAMES]


give_matplotlib_a_folder()  # before anything imports matplotlib


def __getattr__(name: str):
    """Import modules when they are first used: `python -m dlmlab --help` should not wait for torch."""
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _NAMES:
        return getattr(importlib.import_module(_MODULES[_NAMES[name]]), name)
    raise AttributeError(f"module 'dlmlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
