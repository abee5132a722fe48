"""Notebook 04: what its tables share: the dense models, the calibration texts, exact match and likelihood.

Problems: all of the test split, but `FIRST` of a model that has none of these right, and of draws of a model after the
first draw; likelihood: the first `BOUND_PROBLEMS`, the bound of the answer by mask count with common random masks
(`noise.bound_by_count`), in nats, one mean for each problem. A row keeps the numbers of all problems, so that notebooks
can pair them. A live slice (`size`) takes the first of the same problems, under the same masks.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch

from dlmlab.compress import calibration
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate, store
from dlmlab.measure.difference import Difference, between
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective import likelihood, noise
from dlmlab.study.stand_in import load
from dlmlab.task import layout, tasks

PROBLEMS, FIRST, ROWS = 500, 100, 16  # for exact match: all, those that decide whether it is worth asking; a batch
TEXTS = 32  # for calibration
GRID_TEXTS = 16  # for the ablation, at ten levels each
BOUND_PROBLEMS, DRAWS = 128, 2  # for the likelihood: test problems, and masks of each
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


def judge(model, *, problems: int = PROBLEMS, seed: int | None = None, size: int | None = None) -> dict:
    """Answer problems of the test split: `correct` one digit a problem, `nfe` forwards a problem.

    Of a model with nothing right in the first `FIRST` no more is asked (ruined models take the most forwards), nor of
    one whose seed is not the first.
    """
    sampler, correct, forwards = Sampler(commit=Threshold(0.9)), "", 0.0
    chosen = tasks.load_split("test")[: size or (min(FIRST, problems) if seed else problems)]
    for part in (chosen[:FIRST], chosen[FIRST:]):
        if part and (not correct or "1" in correct):
            result = evaluate.accuracy(model, load("llada-mini").tokenizer, part, sampler=sampler, batch_size=ROWS)
            correct, forwards = correct + result.correct, forwards + result.mean_nfe * len(part)
    return {"correct": correct, "nfe": round(forwards / len(correct), 3)}


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


def points(rows: Sequence[dict], *by: str) -> list[dict]:
    """Make one row of all that differ in their seed only: those that have the columns `by` in common (else each row).

    Exact match and its Wilson interval are those of the first seed, which answered most; `others`: of the others, a
    list. The bound is the mean over seeds.
    """
    groups: dict[object, list[dict]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(tuple(row[name] for name in by) or i, []).append(row)
    table = []
    for group in groups.values():
        first, *others = (evaluate.Proportion.of(row["correct"]) for row in group)
        low, high = first.interval
        found = {"exact_match": first.value, "low": low, "high": high, "others": [share.value for share in others]}
        table.append(group[0] | found | {"bound": mean_nats(group)})
    return table


def more_right(rows: Sequence[dict], a: dict, b: dict) -> Difference:
    """Compare the answers of the rows with key `a` and key `b`, in points.

    Seed by seed, on the problems that both answered: the interval is over the problems of the first seed, which
    answered most; the others count as seeds, which must agree for a word.

    >>> rows = [{"m": "a", "correct": "1101"}, {"m": "b", "correct": "00"}]
    >>> more_right(rows, {"m": "a"}, {"m": "b"}).mean
    100.0
    """
    ours, theirs = ({row.get("seed"): row["correct"] for row in store.select(rows, **key)} for key in (a, b))
    seeds = [seed for seed in ours if seed in theirs or None in theirs] or list(theirs)
    pairs = [(ours.get(s, ours.get(None)), theirs.get(s, theirs.get(None))) for s in seeds]
    found = [between(*(text[: min(map(len, pair))] for text in pair)).times(100) for pair in pairs]
    return replace(found[0], seeds=tuple(d.mean for d in found))
