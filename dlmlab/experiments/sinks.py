"""Notebook 03: sink curves of small training runs, and what hiding the strongest receivers does."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dlmlab import evaluate, sinks, tasks
from dlmlab.checkpoint import DATA
from dlmlab.commit import Threshold
from dlmlab.experiments import store
from dlmlab.noise import forward_process
from dlmlab.sampling import Sampler
from dlmlab.tokenizer import build_tokenizer
from dlmlab.training import Batches, Run, TrainConfig

TEXTS, LENGTH, TIMES = 64, 64, (0.1, 0.5, 0.9)


def sweep_texts(config: TrainConfig) -> Tensor:
    """Cut texts of the validation split to `LENGTH` tokens, in the form the run is trained on, (TEXTS, LENGTH).

    Packed runs read problem after problem, others the problems that are long enough.
    """
    encode = Batches(config).encode
    encoded = encode(tasks.load_split("validation"))
    if config.context:
        flat = [id for text in encoded for id in text]
        starts = [i for i, id in enumerate(flat[:-LENGTH]) if id == encoded[0][0]]
        encoded = [flat[i:] for i in starts]
    return torch.tensor([text[:LENGTH] for text in encoded if len(text) >= LENGTH][:TEXTS])


def sink_curve(model, *, texts: Tensor) -> dict:
    """Summarize the attention of a model: of the first position and of the strongest one, and Gu's sink rate.

    A causal model reads the texts as they are, a diffusion model masked at each of `TIMES`. Attention counts in units
    of what uniform attention would give that position. The last half of a causal text is left out of the strongest:
    few queries see it, so a share of theirs says little.
    """
    causal = model.config.attention == "causal"
    L, result = texts.shape[1], {}
    last = L // 2 if causal else L
    uniform = sinks.uniform_sums(L, causal=causal)
    for t in (0.0,) if causal else TIMES:
        generator = torch.Generator().manual_seed(0)
        xt, _ = forward_process(texts, torch.full((len(texts),), t), model.config.mask_token_id, generator=generator)
        sums = sinks.received(model, xt)  # (N, B, H, L)
        lift = sums.mean((0, 2)) / uniform  # (B, L)
        rate = sinks.sink_rate(sinks.mean_attention(sums, causal=causal))  # (B, L)
        tag = "" if causal else f"_{t}"
        result |= {
            f"first{tag}": float(lift[:, 0].mean()),
            f"first_top_head{tag}": float((sums[..., 0].mean(1) / uniform[0]).max()),
            f"strongest{tag}": float(lift[:, :last].amax(-1).mean()),
            f"rate{tag}": float(rate[:, 0].mean()),
            f"any_rate{tag}": float(rate[:, :last].amax(-1).mean()),
        }
    return {key: round(value, 5) for key, value in result.items()}


def sweep(say: Callable[[str], None] = print, path: Path = store.RESULTS / "03_sweep.json") -> None:
    """Train every recipe of `data/sweep` and store its sink curve; a finished run in the file is not run again."""
    rows, problems = store.read(path), tasks.load_split("validation")[:128]
    for recipe in sorted((DATA / "sweep").glob("*.toml")):
        config = TrainConfig.read(recipe)
        if any(row["run"] == config.name for row in rows):
            continue
        run = Run(config, Path(tempfile.gettempdir()) / "dlmlab-sweep" / config.name)
        run.resume()
        run.run(evaluate=functools.partial(sink_curve, texts=sweep_texts(config)), say=say)
        recipe_columns = {"run": config.name, "attention": config.attention, "context": config.context}
        recipe_columns |= {"weight_decay": config.weight_decay, "seed": config.seed}
        judged = evaluate.accuracy(run.model, build_tokenizer(), problems, sampler=Sampler(commit=Threshold(0.9)))
        run.log[-1]["exact_match"] = judged.exact_match.value
        curve = [entry for entry in run.log if "first" in entry or "first_0.5" in entry]
        rows += [recipe_columns | {k: v for k, v in entry.items() if k != "seconds"} for entry in curve]
        store.write(path, rows)
