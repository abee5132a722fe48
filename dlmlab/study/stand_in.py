"""Ask the code of a stored table of other weights, under the names of the first.

The tables of notebooks 01 to 08 name their models: `load("llada-mini")`. To ask the same code of a second training run,
and not a copy of it, the modules of this room load through here, and `standing_in` says which checkpoint answers to a
name. What they keep by name is forgotten on entry and on leaving, so that no row mixes two runs.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dlmlab.network import checkpoint

_NAMES: dict[str, str] = {}


def called(name: str) -> str:
    """Give the name of the checkpoint that answers to `name`: itself, unless another one stands in."""
    return _NAMES.get(name, name)


def load(name: str) -> checkpoint.Checkpoint:
    """Load the checkpoint that answers to a name."""
    return checkpoint.load(called(name))


@contextmanager
def standing_in(names: Mapping[str, str]) -> Iterator[None]:
    """Let other checkpoints answer to these names while the context is open; contexts may be nested.

    >>> with standing_in({"llada-mini": "llama-mini"}):
    ...     called("llada-mini")
    'llama-mini'
    >>> called("llada-mini")
    'llada-mini'
    """
    before = dict(_NAMES)
    _answer(names)
    try:
        yield
    finally:
        _answer(before)


def _answer(names: Mapping[str, str]) -> None:
    if dict(names) == _NAMES:
        return
    _NAMES.clear()
    _NAMES.update(names)
    for name, module in list(sys.modules.items()):
        if name.startswith("dlmlab.study."):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
