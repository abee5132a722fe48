"""Fine-tune a pruned model a little, with the zeros held at zero.

Decisions
* The recipe is the training loop itself (`dlmlab.training`), on fresh problems of the training stream.
* What is zero at the start is set back to zero after every step: an optimizer grows pruned weights again otherwise.
* The control is the dense model with the same steps on the same batches: without it, more training is mistaken for
  recovery.
"""

import copy
from collections.abc import Callable

import torch

from dlmlab.compress.pruning import prunable
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.batches import TrainConfig
from dlmlab.objective.training import Run, build_optimizers


def recipe(steps: int, *, rows: int = 32, lr: float = 1e-3, seed: int = 1) -> TrainConfig:
    """Describe a short fine-tuning as the last stage of LLaDA-mini's own training: same masks, rate falling to 0."""
    return TrainConfig(
        name="recovery",
        rows=rows,
        tokens=steps * rows * 64,  # about 64 tokens a row; the learning rate reaches 0 near the end
        lr=lr,
        lr_rest=lr,
        warmup=5,
        answer_only=((0, 0.9),),
        suffix=((0, 0.8),),
        seed=seed,
        compile=False,
        bf16=False,
        threads=torch.get_num_threads(),
    )


def recover(
    model: LLaDAModelLM, config: TrainConfig, *, steps: int, say: Callable[[str], None] = lambda line: None
) -> LLaDAModelLM:
    """Train a copy of the model for `steps` steps and return it; its zeros stay zeros. Raises `ValueError` for steps
    below 1."""
    if steps < 1:
        raise ValueError(f"steps={steps} must be >= 1")
    run = Run(config, "unused")  # nothing is saved: only `run.run` writes
    run.model = copy.deepcopy(model).train()
    run.forward, run.optimizers = run.model, build_optimizers(run.model, config)
    run.base_lr = [[group["lr"] for group in o.param_groups] for o in run.optimizers]
    zeros = [(W, W == 0) for _, W in prunable(run.model)]
    for step in range(steps):
        loss, count = run.train_step().tolist()
        with torch.no_grad():
            for W, zero in zeros:
                W.masked_fill_(zero, 0.0)
        if step % 20 == 19:
            say(f"step {step + 1}: loss {loss / count:.3f}")
    return run.model.eval()
