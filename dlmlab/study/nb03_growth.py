"""When sinks grow in small training runs of the course's models, packed or not; notebook 03 names the table."""

import functools
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from dlmlab.attention import sinks
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.objective.batches import Batches, TrainConfig
from dlmlab.objective.noise import forward_process
from dlmlab.objective.training import Run
from dlmlab.paths import DATA
from dlmlab.task import tasks
from dlmlab.task.layout import encode_texts
from dlmlab.task.tokenizer import build_tokenizer

TEXTS, LENGTH, TIMES = 64, 64, (0.1, 0.5, 0.9)
FIRST_STEPS, FIRST_ROWS = 2, 4  # of a run that is repeated live


def sweep_texts(config: TrainConfig) -> Tensor:
    """Cut texts of the validation split to `LENGTH` tokens, in the form the run is trained on, (TEXTS, LENGTH).

    Packed runs read problem after problem, others the problems that are long enough.
    """
    encoded = encode_texts(build_tokenizer(), tasks.load_split("validation"))
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


def recipes() -> dict[str, TrainConfig]:
    """Read the recipes of `data/sweep` by name."""
    found = [TrainConfig.read(path) for path in sorted((DATA / "sweep").glob("*.toml"))]
    return {config.name: config for config in found}


def settings() -> list[dict]:
    """Name the measured steps of every run: each `eval_every`, and the last."""
    keys = []
    for name, config in recipes().items():
        last = -(-config.tokens // Batches(config)(0).targets.numel())  # packed: every step has as many tokens
        keys += [{"run": name, "step": k} for k in (*range(config.eval_every, last, config.eval_every), last)]
    return keys


@cache
def trained(name: str) -> dict[int, dict]:
    """Train a recipe and give its sink curve by step; a finished run is not run again."""
    config = recipes()[name]
    run = Run(config, Path(tempfile.gettempdir()) / "dlmlab-sweep" / name)
    run.resume()
    run.run(evaluate=functools.partial(sink_curve, texts=sweep_texts(config)))
    problems = tasks.load_split("validation")[:128]
    judged = evaluate.accuracy(run.model, build_tokenizer(), problems, sampler=Sampler(commit=Threshold(0.9)))
    run.log[-1]["exact_match"] = judged.exact_match.value
    return {entry["step"]: entry for entry in run.log if "first" in entry or "first_0.5" in entry}


def begin(name: str) -> dict:
    """Measure what a live slice can: the losses of the first steps, and the sink curve of the shipped model with the
    same attention."""
    config = recipes()[name]
    small = replace(config, rows=FIRST_ROWS, compile=False, bf16=False, threads=torch.get_num_threads())
    run = Run(small, "unused")  # nothing is saved
    losses = [summed / count for summed, count in (run.train_step().tolist() for _ in range(FIRST_STEPS))]
    shipped, _ = load("llama-mini" if config.attention == "causal" else "llada-mini")
    curve = sink_curve(shipped, texts=sweep_texts(config))
    return {"losses": [round(loss, 5) for loss in losses], "shipped": curve}


def measure(run: str, step: int, size: int | None = None) -> dict:
    """Measure one step of one run; the first row of a run also holds its `begin`."""
    config = recipes()[run]
    first = {"begin": begin(run)} if step == config.eval_every else {}
    if size:
        return first
    columns = {"attention": config.attention, "context": config.context, "weight_decay": config.weight_decay}
    entry = {k: v for k, v in trained(run)[step].items() if k not in ("step", "seconds")}
    return columns | {"seed": config.seed} | entry | first


SWEEP = Table(
    "03_sweep",
    settings,
    measure,
    live=({"run": "ar-packed-decay", "step": 100}, {"run": "dlm-packed", "step": 100}),
    size=FIRST_STEPS,
    tolerance={"begin": (0.001, 0.01)},
)
