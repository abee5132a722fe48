"""Notebook 01: exact match against forwards for every way to decode."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate, store
from dlmlab.network.checkpoint import load
from dlmlab.task import tasks

PROBLEMS = 120
STEPS = (5, 10, 40)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Setting:
    """One line of the table of notebook 01: a method at one cost, with the seeds that chance needs."""

    method: str
    sampler: Sampler
    model: str = "llada-mini"
    seeds: Sequence[int] = (0,)


def sampling_settings() -> list[Setting]:
    """List the samplers that notebook 01 compares."""
    chance, once = SEEDS, (0,)
    fixed = [
        ("random order", "random", None, STEPS, chance),
        ("probability", "probability", None, STEPS, once),
        ("margin", "margin", None, STEPS[:2], once),
        ("entropy", "neg_entropy", None, STEPS[:2], once),
        ("blocks of 8", "probability", 8, STEPS[:2], once),
    ]
    settings = [
        Setting(method, Sampler(score, Fixed(steps), block_length=block), seeds=seeds)
        for method, score, block, budgets, seeds in fixed
        for steps in budgets
    ]
    settings += [Setting("threshold", Sampler(commit=Threshold(tau))) for tau in (0.5, 0.7, 0.9, 0.98)]
    settings.append(Setting("autoregressive twin", Sampler(), model="llama-mini"))
    return settings


def key(setting: Setting, seed: int) -> dict:
    """Name a row of the table."""
    return {"method": setting.method, "sampler": repr(setting.sampler.commit), "seed": seed}


def run(setting: Setting, problems: Sequence[tasks.Problem], seed: int) -> dict:
    """Answer the problems with one setting and one seed; `correct` holds one 0 or 1 per problem."""
    model, tokenizer = load(setting.model)
    result = evaluate.accuracy(
        model, tokenizer, problems, sampler=setting.sampler, generator=torch.Generator().manual_seed(seed)
    )
    return key(setting, seed) | {
        "nfe": result.mean_nfe,
        "gflop": result.flops / len(problems) / 1e9,
        "correct": result.correct,
    }


def sampling_frontier(say: Callable[[str], None] = print, path: Path = store.RESULTS / "01_sampling.json") -> None:
    """Measure every setting on the first `PROBLEMS` test problems, with every seed it needs."""
    problems = tasks.load_split("test")[:PROBLEMS]
    settings = ((setting, seed) for setting in sampling_settings() for seed in setting.seeds)
    jobs = ((key(s, seed), lambda s=s, seed=seed: run(s, problems, seed)) for s, seed in settings)
    store.fill(path, jobs, say)


def summarize(rows: Sequence[dict]) -> list[dict]:
    """Join the seeds of a setting: mean exact match with the Wilson interval of one run (problems, not seeds, are the
    sample), and the spread over seeds."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["sampler"]), []).append(row)
    table = []
    for (method, sampler), mine in groups.items():
        n, hits = len(mine[0]["correct"]), [row["correct"].count("1") for row in mine]
        share = evaluate.Proportion(round(sum(hits) / len(hits)), n)
        low, high = share.interval
        table.append(
            {
                "method": method,
                "sampler": sampler,
                "nfe": sum(r["nfe"] for r in mine) / len(mine),
                "exact_match": sum(hits) / len(hits) / n,
                "low": low,
                "high": high,
                "seeds": len(mine),
                "spread": (max(hits) - min(hits)) / n,
                "gflop": sum(r["gflop"] for r in mine) / len(mine),
            }
        )
    return table
