"""Values on their way: what every position would hand over, read or changed between a layer's projection and its
attention."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from dlmlab.network import parts
from dlmlab.network.config import LLaDAConfig


@contextmanager
def through(model: nn.Module, change: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """While open, the values of every layer, (B, L, H_kv * width), are what `change` makes of them; None: no change.

    The attention of a layer stays what its input says. Several changes run in the order in which they were opened.
    Raises `ValueError` for a model whose projections are not found.
    """
    hooks = [matrix.register_forward_hook(lambda module, args, out: change(out)) for matrix in projections(model)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def projections(model: nn.Module) -> list[nn.Module]:
    """List the modules that make the values, layer by layer, of the course's model or one of Llama's or BERT's build.

    Raises `ValueError` when there is none.
    """
    if isinstance(getattr(model, "config", None), LLaDAConfig):
        return [parts.value(block) for block in parts.blocks(model)]
    found = [module for name, module in model.named_modules() if name.endswith(parts.VALUES_ELSEWHERE)]
    if not found:
        names = " or ".join(parts.VALUES_ELSEWHERE)
        raise ValueError(f"{type(model).__name__} has no module whose name ends in {names}")
    return found
