"""Notebook 03: when sinks grow, in bottled models and in small training runs."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dlmlab.attention import bottle, sinks
from dlmlab.attention.trajectories import value_norms
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate, store
from dlmlab.objective.batches import TrainConfig
from dlmlab.objective.noise import forward_process
from dlmlab.objective.training import Run
from dlmlab.paths import DATA
from dlmlab.task import tasks
from dlmlab.task.layout import encode_texts
from dlmlab.task.tokenizer import build_tokenizer

TEXTS, LENGTH, TIMES = 64, 64, (0.1, 0.5, 0.9)


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


# ------------------------------------------------------------------------------------------------ in a bottle

BOTTLE_SEEDS, RATIOS = (0, 1, 2), (0.1, 0.5, 0.9)
BOTTLE_STEPS = {"causal": 1200, "full": 5000}  # masked diffusion learns to copy later


@torch.inference_mode()
def judge_bottle(model, language: bottle.Language, *, seed: int) -> dict:
    """Measure a bottled model on fresh texts: copying, attention to the start mark by what looks at it and how much
    is masked, length of its value, and what copying and the loss are without the start mark."""
    generator = torch.Generator().manual_seed(20_000 + seed)
    x0 = language.sample(256, generator=generator)
    without_start = torch.ones_like(x0, dtype=torch.bool)
    without_start[:, 0] = False
    norms = value_norms(model, x0)[0, :, 0]  # (B, L)
    causal = model.config.attention == "causal"
    alpha = sinks.mean_attention(sinks.received(model, x0), causal=causal)
    result = {
        "copy": bottle.copy_accuracy(model, x0),
        "copy_without_start": bottle.copy_accuracy(model, x0, without_start),
        "loss": float(bottle.loss(model, x0, generator=torch.Generator().manual_seed(seed))),
        "loss_without_start": float(
            bottle.loss(model, x0, without_start, generator=torch.Generator().manual_seed(seed))
        ),
        "ordinary": bottle.attention_to_start(model, x0)["ordinary"],
        "trigger": bottle.attention_to_start(model, x0)["trigger"],
        "gu_share": float((alpha[0, :, 0, 0] > 0.3).float().mean()),
        "value_ratio": float(norms[:, 0].mean() / norms[:, 1:].mean()),
    }
    for ratio in () if causal else RATIOS:
        time = torch.full((len(x0),), ratio)
        xt, _ = forward_process(x0, time, bottle.MASK, maskable=x0 != bottle.START, generator=generator)
        result[f"start_{ratio}"] = float(sinks.received(model, xt)[..., 0].mean() / x0.shape[1])
    return {key: round(value, 5) for key, value in result.items()}


def bottles(say: Callable[[str], None] = print, path: Path = store.RESULTS / "03_bottle.json") -> None:
    """Train both objectives with three seeds each, on one language, and store what they learned."""
    language = bottle.Language.draw(generator=torch.Generator().manual_seed(0))

    def measure(attention: str, seed: int) -> dict:
        model, curve = bottle.train(attention, language, seed=seed, steps=BOTTLE_STEPS[attention])
        curve = [[e["step"], round(e["loss"], 4), round(e["start"], 4)] for e in curve]
        return judge_bottle(model, language, seed=seed) | {"curve": curve}

    keys = ({"attention": attention, "seed": seed} for attention in ("causal", "full") for seed in BOTTLE_SEEDS)
    store.fill(path, ((key, lambda k=key: measure(**k)) for key in keys), say)
