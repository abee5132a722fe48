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

from dlmlab.network import parts
from dlmlab.network.config import attention_block
from dlmlab.network.model import LLaDAModelLM
from dlmlab.network.packed import check_dense
from dlmlab.objective.batches import Batches, TrainConfig
from dlmlab.objective.training import build_optimizers, learn, rates, schedule, set_rates


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
    model, batches, tokens = copy.deepcopy(check_dense(model)), Batches(config), 0
    optimizers = build_optimizers(model, config)
    base, zeros = rates(optimizers), [(W, W == 0) for W in parts.weights(model).values()]
    for step in range(steps):
        batch = batches(step)
        set_rates(optimizers, base, schedule(tokens, step, config))
        paired = attention_block(model.config.attention) not in (None, 1)
        loss, count = learn(model, optimizers, batch, clip=config.clip, kernel="explicit", paired=paired).tolist()
        tokens += batch.targets.numel()
        with torch.no_grad():
            for W, zero in zeros:
                W.masked_fill_(zero, 0.0)
        if step % 20 == 19:
            say(f"step {step + 1}: loss {loss / count:.3f}")
    return model
