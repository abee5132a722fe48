"""Quantizers by name, from texts to a model of few bits: what `python -m dlmlab quantize` offers.

    name           texts   a weight is ...
    rtn            no      rounded to nearest
    ternary        no      -1, 0 or 1 times the mean size of its row or group
    gptq           yes     rounded, and the columns to its right repair the error; may be pruned in the same pass
    clip           yes     rounded in a range cut by what it costs the outputs (the second half of AWQ)
    awq            yes     scaled by column before (`folding`), then as in clip
    smooth         yes     scaled by column, in favour of the activations, then rounded to nearest
    rotate-rtn     no      rotated (what can be folded), then rounded to nearest
    rotate-gptq    yes     rotated, then as in gptq

Decisions
* Every module of this package is imported here, so a file that registers a quantizer is all that is needed to add one.
* `apply` refuses values that a method does not read. What is not given has its default: 4 bits, asymmetric, one scale a
  row.
* Embedding, head and norms keep their precision, as in all published work on weights alone.
* LLM.int8() and the other methods that round activations are not offered: they store no fewer bits than these, and
  what they round comes with the text.
"""

import importlib
import pkgutil

from dlmlab.compress import quant, registry
from dlmlab.compress.methods import Texts
from dlmlab.compress.registry import TEXTS, Method, Program, compress
from dlmlab.network.model import LLaDAModelLM

BITS = 4

for _module in pkgutil.iter_modules(quant.__path__):
    importlib.import_module(f"{quant.__name__}.{_module.name}")


def names() -> list[str]:
    """List the quantizers."""
    return registry.names("quantize")


def quantizer(name: str) -> Method | Program:
    """Return a registered quantizer. Raises `ValueError` with all names for an unknown one."""
    if name not in names():
        raise ValueError(f"method={name!r} is unknown; known: {', '.join(names())}")
    return registry.known(name)


def reads(name: str) -> set[str]:
    """Name what a quantizer looks at of the values that a command line may give."""
    method = quantizer(name)
    looks = isinstance(method, Method) and method.needs
    return {*method.uses, *(TEXTS if looks else ())}


def options(name: str, **given):
    """Make the options of a quantizer from plain values. Raises `ValueError` for one it does not read or cannot be."""
    method, read = quantizer(name), reads(name)
    if unread := sorted(set(given) - read):
        raise ValueError(f"method {name!r} does not read {', '.join(unread)}; it reads {', '.join(sorted(read))}")
    return method.options(**({"bits": BITS} if "bits" in read else {}) | given)


def apply(model: LLaDAModelLM, name: str, *, texts: Texts, packed: bool = False, **given) -> LLaDAModelLM:
    """Quantize a copy of the model by a registered method, fake (default) or `packed`.

    `given`: bits, symmetric, group, range, act_order, sparsity, pattern, block, of which each method reads some. Raises
    `ValueError` for an unknown name, what the method does not read, and whatever it cannot do.
    """
    method, chosen = quantizer(name), options(name, **given)
    if isinstance(method, Program):
        return method.run(model, texts, options=chosen, packed=packed)
    calib = texts.states(model) if method.needs else None
    return compress(model, method, chosen, calib=calib, generator=texts.generator(), packed=packed)
