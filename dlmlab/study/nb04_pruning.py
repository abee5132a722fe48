"""Notebook 04: what its tables share: the dense models, the calibration texts, exact match and likelihood.

Every table is resumable row by row. Problems: the first `PROBLEMS` of the test split; likelihood: the bound of the
answer by mask count with common random masks (`noise.bound_by_count`), in nats, one mean for each problem. A row keeps
the numbers of all problems, so that notebooks can pair them.
"""

from collections.abc import Sequence
from functools import cache

import torch

from dlmlab.compress import calibration
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.measure.store import select
from dlmlab.network.checkpoint import load
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective import likelihood, noise
from dlmlab.task import layout, tasks

PROBLEMS = 64  # for exact match
TEXTS = 32  # for calibration
GRID_TEXTS = 16  # for the ablation, at ten levels each; its clean rows see the same 16
BOUND_PROBLEMS, DRAWS = 48, 6  # for the likelihood of the sweep and of structure
PAIRED_PROBLEMS = 32  # for the likelihood of the ablations, which compare within one table
SEEDS = (0, 1, 2)


def answer_bound(model, *, problems: int = BOUND_PROBLEMS, split: str = "test", seed: int = 0) -> list[float]:
    """Bound the negative log-likelihood of the solution given the question, in nats, one mean a problem.

    The same seed hides the same tokens from every model. The twin's likelihood is exact instead.
    """
    _, tokenizer = load("llada-mini")
    rows = layout.encode_rows(tokenizer, tasks.load_split(split)[:problems], side="right")
    if model.config.attention == "causal":
        counts = likelihood.up_to_end(rows.x0, rows.answer, tokenizer.eos_token_id)
        nats = (likelihood.next_token_nats(model, rows.x0) * counts[:, 1:]).sum(1)
    else:
        options = dict(draws=DRAWS, generator=torch.Generator().manual_seed(seed), valid=rows.valid, batch_size=96)
        nats = noise.bound_by_count(model, rows.x0, rows.answer, **options).mean(1)
    return [round(v, 5) for v in nats.tolist()]


def judge(model, *, problems: int = PROBLEMS) -> dict:
    """Answer the first problems of the test split: `correct` one digit a problem, `nfe` forwards a problem."""
    _, tokenizer = load("llada-mini")
    sampler = Sampler(commit=Threshold(0.9))
    result = evaluate.accuracy(model, tokenizer, tasks.load_split("test")[:problems], sampler=sampler)
    return {"correct": result.correct, "nfe": round(result.mean_nfe, 3)}


@cache
def dense(name: str = "llada-mini") -> LLaDAModelLM:
    return load(name).model


@cache
def texts(mode: str, seed: int, region: str = "all", n: int = TEXTS) -> calibration.CalibrationSet:
    """Make the calibration set of an experiment from n problems drawn with the seed."""
    model, tokenizer = load("llada-mini")
    problems = calibration.calibration_problems(n, seed=seed)
    if mode == "trajectory":
        return calibration.trajectory_set(model, tokenizer, problems)
    generator = torch.Generator().manual_seed(seed)
    return calibration.calibration_set(tokenizer, problems, mode, region=region, generator=generator)


def mean_nats(rows: Sequence[dict]) -> float:
    """Mean bound in nats an answer, over problems and seeds."""
    return sum(sum(row["nats"]) / len(row["nats"]) for row in rows) / len(rows)


def compare(rows: Sequence[dict], a: dict, b: dict) -> dict:
    """Difference a - b in nats an answer: paired over problems, seeds averaged first; and the difference of each seed.

    Only seeds that both have are used. `low`, `high`: 95 % bootstrap interval over problems. `seeds`: one number a
    calibration seed; when their signs differ, the choice of texts matters more than what is compared. Raises
    `ValueError` when no seed is common.
    """
    ours, theirs = ({row.get("seed"): row for row in select(rows, **key)} for key in (a, b))
    common = sorted(ours.keys() & theirs.keys(), key=str)
    if not common:
        raise ValueError(f"{a} and {b} have no seed in common")
    pairs = [(ours[seed], theirs[seed]) for seed in common]
    first, second = (
        [sum(v) / len(v) for v in zip(*(r["nats"] for r in x), strict=True)] for x in zip(*pairs, strict=True)
    )
    mean, low, high = evaluate.paired_difference(first, second)
    return {"mean": mean, "low": low, "high": high, "seeds": [mean_nats([x]) - mean_nats([y]) for x, y in pairs]}


def verdict(difference: dict, margin: float = 0.0) -> str:
    """Put a difference in nats into a word: `lower` and `higher` only when the interval and every seed agree."""
    if difference["high"] < -margin and max(difference["seeds"]) < 0:
        return "lower"
    if difference["low"] > margin and min(difference["seeds"]) > 0:
        return "higher"
    return "no difference shown"


def points(rows: Sequence[dict]) -> list[dict]:
    """Add exact match with its Wilson interval, and the mean bound, to the rows of a table."""
    table = []
    for row in rows:
        share = evaluate.Proportion.of(row["correct"])
        low, high = share.interval
        table.append(row | {"exact_match": share.value, "low": low, "high": high, "bound": mean_nats([row])})
    return table
