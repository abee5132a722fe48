"""Notebook 04: what its tables share: the dense models, the calibration texts, exact match and likelihood.

Problems: the first `PROBLEMS` of the test split; likelihood: the bound of the answer by mask count with common random
masks (`noise.bound_by_count`), in nats, one mean for each problem. A row keeps the numbers of all problems, so that
notebooks can pair them. A live slice (`size`) takes the first of the same problems, under the same masks.
"""

from collections.abc import Sequence
from functools import cache

import torch

from dlmlab.compress import calibration
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.network.checkpoint import load
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective import likelihood, noise
from dlmlab.task import layout, tasks

PROBLEMS = 64  # for exact match
TEXTS = 32  # for calibration
GRID_TEXTS = 16  # for the ablation, at ten levels each
BOUND_PROBLEMS, DRAWS = 48, 6  # for the likelihood of the sweep and of structure
PAIRED_PROBLEMS = 32  # for the likelihood of the ablations, which compare within one table
CHUNK = 32  # problems of about one length that are judged together
SEEDS = (0, 1, 2)
TOLERANCE = {"nats": (0.005, 0.005), "nfe": (1.0, 0.5), "begin": (0.02, 0.02)}  # `nfe` is a mean over the problems


def answer_bound(
    model,
    *,
    problems: int = BOUND_PROBLEMS,
    draws: int = DRAWS,
    split: str = "test",
    seed: int = 0,
    size: int | None = None,
) -> list[float]:
    """Bound the negative log-likelihood of the solution given the question, in nats, one mean over `draws` a problem.

    The same seed hides the same tokens from every model. `size`: only the first so many, each under its own masks all
    the same. The twin's likelihood is exact instead.
    """
    _, tokenizer = load("llada-mini")
    rows, few = layout.encode_rows(tokenizer, tasks.load_split(split)[:problems], side="right"), slice(size)
    x0, valid, causal = rows.x0[few], rows.valid[few], model.config.attention == "causal"
    if causal:
        counts = likelihood.up_to_end(x0, rows.answer[few], tokenizer.eos_token_id)
    else:
        masked, weight = noise.count_masks(rows.answer, draws=draws, generator=torch.Generator().manual_seed(seed))
    nats = torch.zeros(len(x0), dtype=torch.float64)
    for at in valid.sum(1).argsort(stable=True).split(CHUNK):  # short problems together: padding is work, too
        part = at, slice(int(valid[at].sum(1).max()))
        if causal:
            nats[at] = (likelihood.next_token_nats(model, x0[part]) * counts[part][:, 1:]).sum(1).double()
        else:
            hidden = masked[few][at, :, part[1]]
            losses = noise.masked_losses(model, x0[part], hidden, valid=valid[part], batch_size=96)
            nats[at] = (weight[few][at] * losses.sum(-1)).mean(1)
    return [round(v, 5) for v in nats.tolist()]


def judge(model, *, size: int | None = None) -> dict:
    """Answer the first problems of the test split: `correct` one digit a problem, `nfe` forwards a problem."""
    _, tokenizer = load("llada-mini")
    problems = tasks.load_split("test")[: size or PROBLEMS]
    result = evaluate.accuracy(model, tokenizer, problems, sampler=Sampler(commit=Threshold(0.9)))
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


def points(rows: Sequence[dict]) -> list[dict]:
    """Add exact match with its Wilson interval, and the mean bound, to the rows of a table."""
    table = []
    for row in rows:
        share = evaluate.Proportion.of(row["correct"])
        low, high = share.interval
        table.append(row | {"exact_match": share.value, "low": low, "high": high, "bound": mean_nats([row])})
    return table
