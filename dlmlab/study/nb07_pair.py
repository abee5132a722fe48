"""Notebook 07: a block-causal model with experts beside dense ones with full attention, on the test problems.

`llada2-mini-toy` reads two of eight experts a token; `llada-small` is dense, reads as many parameters a token, and saw
the same texts, masked and damaged in like shares (not at the same places: a time is drawn for a block there, for a text
here). They differ in two things at once, the experts and who sees whom, as the published families do; `llada-mini` is
the course's model, with more of everything. `way` is a way to decode, `seed` None where there is no chance: at
temperature 0.

Accuracy, forwards, tokens and FLOPs do not depend on the machine. Time does: `TIMES` is measured in turn, and what is
repeated live of it is the work.
"""

from collections.abc import Sequence
from functools import cache

import torch

from dlmlab.decode.cache import DualCache
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.run import decode, sampler_for
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import difference, evaluate, hardware
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network import cost
from dlmlab.network.checkpoint import load
from dlmlab.study.judging import SEEDS
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt

EXPERTS, SMALL, MINI = "llada2-mini-toy", "llada-small", "llada-mini"
BLOCK, WARM = 8, 0.5
TAUS = (0.9, 0.7, 0.5)
EXACT, AGAIN, WHOLE, DUAL = "exact cache", "no cache", "one block", "dual cache"
WAYS = {EXPERTS: (EXACT, AGAIN), SMALL: (WHOLE, AGAIN, DUAL), MINI: (WHOLE, AGAIN, DUAL)}
ORDER = "left to right, six forwards"
BATCHES, ROUNDS = (1, 16), 9


def sampler(model: str, way: str, tau: float | None, temperature: float = 0.0) -> Sampler:
    """Make a way to decode; it stops at the end mark. `tau` None: one token a forward."""
    options = {"commit": Fixed(40) if tau is None else Threshold(tau), "temperature": temperature}
    options |= {"stop_at_eos": True}
    if way == ORDER:
        return Sampler("left_to_right", **options | {"commit": Fixed(6)})
    if way == EXACT:
        return sampler_for(load(model).model.config, **options)
    aligned = {"aligned": True} if model == EXPERTS else {}
    blocks = {"block_length": None if way == WHOLE else BLOCK} | aligned
    return Sampler(**options, **blocks, cache=DualCache() if way == DUAL else None)


def settings() -> list[dict]:
    """List every way of every model without chance, then the first of each with chance, seed by seed."""
    found = [
        {"model": model, "way": way, "tau": tau, "seed": None}
        for model, ways in WAYS.items()
        for way in ways
        for tau in TAUS + ((None,) if way == ways[0] else ())
    ]
    found += [{"model": model, "way": ORDER, "tau": None, "seed": None} for model in (SMALL, MINI)]
    return found + [{"model": m, "way": WAYS[m][0], "tau": 0.9, "seed": seed} for seed in SEEDS for m in WAYS]


def run(model: str, way: str, tau: float | None, seed: int | None, size: int | None = None) -> dict:
    """Answer the test problems in one way; costs are means over problems."""
    net, tokenizer = load(model)
    problems = tasks.load_split("test")[:size]
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    how = sampler(model, way, tau, 0.0 if seed is None else WARM)
    result = evaluate.accuracy(net, tokenizer, problems, sampler=how, generator=generator)
    n = len(problems)
    return {
        "correct": result.correct,
        "nfe": round(result.mean_nfe, 3),
        "tokens": round(result.tokens_through / n, 2),
        "mflop": round(result.flops / n / 1e6, 2),
    }


def against(rows: Sequence[dict], tau: float | None = 0.9) -> dict[str, difference.Difference]:
    """Compare exact match of the model with experts with each dense one, each in its own way, in points."""
    mine = {"model": EXPERTS, "way": EXACT, "tau": tau, "seed": None}
    found = {}
    for model in (SMALL, MINI):
        for way in WAYS[model] if tau is not None else (WHOLE,):
            other = {"model": model, "way": way, "tau": tau, "seed": None}
            found[f"{model}, {way}"] = difference.of_rows(rows, mine, other, column="correct").times(100)
    return found


def warm(rows: Sequence[dict]) -> dict[str, difference.Difference]:
    """The same with chance in it, over problems and seeds."""
    warmed = [row for row in rows if row["seed"] is not None]
    mine = {"model": EXPERTS, "way": EXACT}
    return {
        model: difference.of_rows(warmed, mine, {"model": model, "way": WHOLE}, column="correct").times(100)
        for model in (SMALL, MINI)
    }


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for row in rows:
        if row["seed"] is None:
            name = f"{row['model']}, {row['way']}, {row['tau']}"
            found[name] = evaluate.Proportion.of(row["correct"]).value
            found |= {f"{name}, {column}": row[column] for column in ("nfe", "tokens", "mflop")}
    for tau in (*TAUS, None):
        found |= difference.headlines(f"{EXPERTS} - dense at {tau},", against(rows, tau))
    return found | difference.headlines(f"{EXPERTS} - dense with chance,", warm(rows))


PAIR = Table(
    "07_pair",
    settings,
    run,
    live=(
        {"model": EXPERTS, "way": EXACT, "tau": 0.9, "seed": None},
        {"model": SMALL, "way": DUAL, "tau": 0.9, "seed": None},
    ),
    size=12,
    tolerance={"nfe": (1.5, 0.4), "tokens": (0.0, 0.5), "mflop": (0.0, 0.5)},  # means over other problems
    headlines=headlines,
)


def prompts(batch: int) -> list[list[int]]:
    """Take prompts of test problems, a batch of them."""
    tokenizer = load(EXPERTS).tokenizer
    return [encode_prompt(tokenizer, p.question) for p in tasks.load_split("test")[:batch]]


@cache
def timed(batch: int) -> dict[tuple[str, str], list[float]]:
    """Time all ways of all models in turn, seconds of every round."""

    def job(model: str, way: str):
        net, how, asked = load(model).model, sampler(model, way, 0.9), prompts(batch)
        return lambda: decode(net, asked, sampler=how)

    jobs = {(model, way): job(model, way) for model, ways in WAYS.items() for way in ways}
    return cost.interleaved(jobs, rounds=ROUNDS, warmup=1)


def time_of(model: str, way: str, batch: int, size: int | None = None) -> dict:
    """Give one row of the times: `ratio` to `llada-mini` in one block in the same rounds (median, quartiles), and the
    forwards of the batch, which do not depend on the machine."""
    out = decode(load(model).model, prompts(batch), sampler=sampler(model, way, 0.9))
    work = {"forwards": float(max(out.trace.nfe))}
    if size:
        return work
    found = timed(batch)
    r = cost.ratio(found[model, way], found[MINI, WHOLE])
    ratio = {"ratio": round(r.median, 4), "low": round(r.low, 4), "high": round(r.high, 4)}
    return work | ratio | {"machine": hardware.fingerprint()}


def time_lines(rows: Sequence[dict]) -> dict[str, float]:
    """Name the ratios that pages quote."""
    return {f"{row['model']}, {row['way']}, batch {row['batch']}": row["ratio"] for row in rows}


def machine(rows: Sequence[dict]) -> str:
    """Name the machine of the times."""
    return select(rows, model=EXPERTS, way=EXACT, batch=1)[0]["machine"]["processor"]


TIMES = Table(
    "07_times",
    lambda: [{"model": m, "way": way, "batch": b} for b in BATCHES for m, ways in WAYS.items() for way in ways],
    time_of,
    live=({"model": EXPERTS, "way": EXACT, "batch": 1}, {"model": MINI, "way": DUAL, "batch": 1}),
    size=1,
    tolerance={"forwards": (2.0, 0.0)},  # a token more or less may pass the threshold
    headlines=time_lines,
)
