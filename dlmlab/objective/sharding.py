"""Shard a training run: every process holds a part of each weight, of its gradient and of its optimizer's state.

Decisions
* torch's `fully_shard`, block by block: a block is whole only while it computes; embedding, norm and head during a
  whole step. A weight is cut along its rows and stays float32; autocast rounds what is multiplied, as on one device.
* What is written down is whole, whoever wrote it: a state of N processes goes on with one, and the other way round.
  Tensors are gathered one by one, and only the first process keeps them.
* The sum of a block's gradients is one message, and all processes must send the same. So an expert that reads none of
  the rows of a process is called all the same, with no token, and its gradient there is zero. An expert that nobody has
  read is left alone by the optimizer, as on one process.
* Functions here take plain tensors too and hand them back as they are, so that callers need not ask.

Sources: Rajbhandari et al., ZeRO, arXiv 1910.02054 (stage 3); Zhao et al., PyTorch FSDP, arXiv 2304.11277.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dlmlab.network import parts


def shard(model: nn.Module, device: str, *, compile: bool = False) -> None:
    """Cut the weights of a model on the CPU among all processes, in place, and put the parts on `device`.

    At no time does the device hold more than the parts and one block. `compile`: every block by itself.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(torch.device(device).type, (torch.distributed.get_world_size(),))
    for module in model.modules():
        if hasattr(module, "call_idle"):  # the experts of a layer
            module.call_idle = True
    for block in parts.blocks(model):
        if compile:
            block.forward = torch.compile(block.forward, dynamic=False)
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.to(device)  # the buffers; the parts are there


def describe(model: nn.Module) -> str:
    """Say in one line how many processes share a model, and how much of it this one holds."""
    sizes = [(p.to_local().numel() if is_part(p) else p.numel(), p.numel()) for p in model.parameters()]
    here, all = (sum(column) for column in zip(*sizes, strict=True))
    return f"{torch.distributed.get_world_size()} processes cut its weights: {here:,} of {all:,} are in this one"


def is_part(x: Any) -> bool:
    """Say whether a tensor is cut among processes."""
    return hasattr(x, "full_tensor")


@torch.no_grad()
def whole(x: Tensor) -> Tensor:
    """Gather a tensor from all processes, which all must ask; a plain one is handed back."""
    return x.full_tensor() if is_part(x) else x


def part_of(x: Tensor, like: Tensor) -> Tensor:
    """Cut a whole tensor, the same on all processes, as `like` is cut; no message is sent."""
    if not is_part(like):
        return x
    from torch.distributed.tensor import DTensor, Replicate

    copies = DTensor.from_local(x.to(like.device), like.device_mesh, [Replicate()])
    return copies.redistribute(placements=like.placements)


def gather(state: Any, keep: bool) -> Any:
    """Make every cut tensor of a nested state whole, on the CPU; a process that does not `keep` it gets None there."""
    if is_part(state):
        found = whole(state.detach())
        return found.cpu() if keep else None
    if isinstance(state, Mapping):
        return {k: gather(v, keep) for k, v in state.items()}
    return [gather(v, keep) for v in state] if isinstance(state, list) else state


def load_weights(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a model, cut or not, the weights of a whole state. Raises as `load_state_dict` does, and `KeyError`."""
    own = model.state_dict()
    model.load_state_dict({name: part_of(x, own[name]) for name, x in state.items()})


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Give an optimizer of cut or plain weights its whole state; what has the shape of a weight is cut like it."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    if any(map(is_part, params)):
        cut = {i: {k: _own(x, params[i]) for k, x in values.items()} for i, values in state["state"].items()}
        state = state | {"state": cut}
    optimizer.load_state_dict(state)


def _own(x: Any, weight: Tensor) -> Any:
    """Copy a value of an optimizer, or the part of it that goes with this part of a weight."""
    if not isinstance(x, Tensor):
        return x
    return (part_of(x, weight) if x.shape == weight.shape else x).clone()


def forget_idle(model: nn.Module, loads: Tensor) -> None:
    """Take the gradient, zero, from experts that read no token on any process: loads (layers, E), of all processes."""
    layers = [module for module in model.modules() if hasattr(module, "call_idle")]
    for layer, load in zip(layers, loads.tolist(), strict=True):
        for expert, tokens in zip(layer.experts, load, strict=True):
            if not tokens:
                expert.zero_grad(set_to_none=True)
