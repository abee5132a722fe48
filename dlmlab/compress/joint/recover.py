"""Training a chosen model a little more, on the grids and with the zeros that it was stored with.

Decisions
* What was decided stays: a zero stays 0, a matrix keeps its bits and groups, what left does not come back. So the bytes
  stay too, up to weights that happen to round to 0.
* Everything moves, norms, embedding and head included, in floats as they are stored.
* The control is the dense model with the same batches and steps (`qat.finetune` on it): without it, more training is
  mistaken for a repair.

Source: straight-through estimation, Bengio et al., arXiv 1308.3432; what moves is `quant.qat`.
"""

from collections.abc import Callable

import torch

from dlmlab.compress.joint import footprint
from dlmlab.compress.joint.assembly import Assembly
from dlmlab.compress.joint.options import Choice, Option
from dlmlab.compress.quant import qat
from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM


def recovered(
    assembly: Assembly,
    choice: Choice,
    draw: Callable[[int], qat.Batch],
    *,
    steps: int,
    lr: float,
    teacher: LLaDAModelLM | None,
    generator: torch.Generator,
) -> tuple[LLaDAModelLM, int]:
    """Train a chosen model and return it with its bytes; with a `teacher` by KL to it, else by the diffusion loss.

    `choice` is over whole blocks. Raises `ValueError` for zeros in floats, which nothing here would hold, and as
    `qat.finetune`.
    """
    options = [choice.get(place, Option()) for place in assembly.places]
    options = [option for option in options if option.units != "layer"]  # in the order of the blocks that stay
    if any(option.sparsity and option.plan.spec is None for option in options):
        raise ValueError("zeros in floating-point weights would fill up again: give the option bits")
    model = qat.prepare(
        assembly.model(choice), lambda name: options[int(name.split(".")[1])].plan.spec, keep_zeros=True
    )
    trained, _ = qat.finetune(model, draw, steps=steps, lr=lr, teacher=teacher, generator=generator)
    blocks = parts.blocks(qat.freeze(trained, packed=True))
    bytes_ = footprint.outside(assembly.dense) + sum(footprint.weigh_block(block).bytes for block in blocks)
    return qat.freeze(trained), bytes_
