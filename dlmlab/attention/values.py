"""Values on their way: what every position would hand over, read or changed between a layer's projection and its
attention."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM


@contextmanager
def through(model: LLaDAModelLM, change: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """While open, the values of every layer, (B, L, H_kv * width), are what `change` makes of them; None: no change.

    The attention of a layer stays what its input says. Several changes run in the order in which they were opened.
    """
    matrices = [parts.value(block) for block in parts.blocks(model)]
    hooks = [matrix.register_forward_hook(lambda module, args, out: change(out)) for matrix in matrices]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
