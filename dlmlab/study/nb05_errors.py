"""Notebook 05: do errors accumulate? LLaDA-mini against itself in few bits, along one run and side by side.

Weights are rounded to nearest. Every claim has two controls, `change`:
    noise    logits carry noise as large as the error of the quantized ones (`Jittered`), new at every forward
    weights  each group of weights carries noise as large as its rounding error, the same in the whole run

`how` a run goes:
    fixed    nine forwards in one block; what is written stays
    answers  as each model is used: threshold 0.9, or left to right; texts and exact match only, both models
"""

from collections.abc import Sequence
from functools import cache

import torch

from dlmlab.compress.quant import accumulation
from dlmlab.compress.quant.accumulation import Jittered
from dlmlab.decode.commit import Fixed
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.decode.trace import Sample
from dlmlab.measure import difference, evaluate, store
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.study.judging import SEEDS, dense, texts
from dlmlab.study.nb05_methods import MODELS, PROBLEMS, SAMPLER, every_seed, quantized
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt

TWINS = 64  # problems of the twin runs
BATCH = 64
BITS = 3  # of the twin runs
FORWARDS = 9
CONTROLS = ("noise", "weights")
FORCED = ("kl", "flips", "frontier")
FIXED = Sampler(commit=Fixed(FORWARDS))


@cache
def size_of(bits: int) -> float:
    """Measure how far rounding moves the logits, relative, on noised answers of the calibration split."""
    calib = texts("uniform", 0, "answer")
    return accumulation.relative_size(dense(), quantized("llada-mini", "rtn", bits), calib.ids, calib.real)


def changed(change: str, bits: int, seed: int):
    """Make the other model: rounded, or with noise of the same size."""
    if change == "rtn":
        return quantized("llada-mini", "rtn", bits)
    if change == "weights":
        return quantized("llada-mini", "noise", bits, seed)
    return Jittered(dense(), size_of(bits), torch.Generator().manual_seed(seed))


def runs(model, count: int) -> list[Sample]:
    """Let a model answer the first problems, batch by batch."""
    tokenizer = load("llada-mini").tokenizer
    prompts = [encode_prompt(tokenizer, p.question) for p in tasks.load_split("test")[:count]]
    return [sample(model, prompts[i : i + BATCH], sampler=FIXED) for i in range(0, count, BATCH)]


@cache
def float_runs(count: int) -> list[Sample]:
    return runs(dense(), count)


def twin_runs(change: str, bits: int, seed: int, count: int) -> dict:
    """Compare the float model with the other one: teacher-forced, then each on its own; one number a problem."""
    other, found = changed(change, bits, seed), {name: [] for name in (*FORCED, "mismatch", "first")}
    steps: dict[str, list] = {name: [] for name in (*FORCED, "distance")}
    for mine, theirs in zip(float_runs(count), runs(changed(change, bits, seed), count), strict=True):
        free = accumulation.free_running(mine, theirs)
        forced = [accumulation.teacher_forced(dense(), other, mine, rows=[row]) for row in range(len(mine.ids))]
        for name in FORCED:
            each = [getattr(f, name) for f in forced]
            found[name] += [round(sum(x) / len(x), 5) for x in each]
            steps[name] += [x[:FORWARDS] for x in each]
        found["mismatch"] += [round(m, 5) for m in free.mismatch]
        found["first"] += [float(step or 0) for step in free.first]  # 0: never
        steps["distance"] += [free.distance[:FORWARDS]] * len(mine.ids)
    found["size"] = round(size_of(bits), 5)
    means = {
        f"{name}_steps": [round(sum(x) / count, 5) for x in zip(*each, strict=True)] for name, each in steps.items()
    }
    return found | (means if count == TWINS else {})


@cache
def answers(model: str, bits: int, count: int) -> evaluate.Result:
    """Answer problems with one of the models; 32 bits are the floating-point model."""
    small = dense(model) if bits == 32 else quantized(model, "rtn", bits)
    test = tasks.load_split("test")[:count]
    return evaluate.accuracy(small, load("llada-mini").tokenizer, test, sampler=SAMPLER)


def settings() -> list[dict]:
    """List the twin runs, then the texts of both models."""
    arms = [("llada-mini", "fixed", "rtn", BITS, 0)]
    arms += [("llada-mini", "fixed", control, BITS, seed) for control in CONTROLS for seed in SEEDS]
    arms += [(model, "answers", "rtn", BITS, 0) for model in MODELS]
    return [dict(zip(("model", "how", "change", "bits", "seed"), arm, strict=True)) for arm in arms]


def run(model: str, how: str, change: str, bits: int, seed: int, size: int | None = None) -> dict:
    """Measure one pair of models; `differ`: which texts are others than those of the float model, one digit each."""
    if how != "answers":
        return twin_runs(change, bits, seed, size or TWINS)
    whole, small = (answers(model, b, size or PROBLEMS) for b in (32, bits))
    differ = [a != b for a, b in zip(whole.answers, small.answers, strict=True)]
    return {"differ": evaluate.digits(differ), "correct": small.correct, "float": whole.correct}


# ------------------------------------------------------------------------------------------------ what pages quote


def beyond_noise(rows: Sequence[dict], column: str, control: str = "noise") -> difference.Difference:
    """Compare rounding with noise of the same size."""
    twins = [*every_seed(rows, how="fixed", change="rtn"), *store.select(rows, how="fixed", change=control)]
    return difference.of_rows(twins, {"change": "rtn"}, {"change": control}, column=column)


def mean_of(rows: Sequence[dict], column: str, change: str) -> float:
    """Mean of a column over problems and seeds."""
    chosen = store.select(rows, how="fixed", change=change)
    return sum(sum(row[column]) / len(row[column]) for row in chosen) / len(chosen)


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote: rounding beyond noise, and the texts of both models."""
    found: dict[str, float | str] = {}
    for column in (*FORCED, "mismatch"):
        unit = 1 if column == "kl" else 100
        for control in CONTROLS:
            gap = beyond_noise(rows, column, control).times(unit)
            found |= difference.headlines(f"{column}, rtn - {control},", {f"{BITS} bits": gap})
        for change in ("rtn", *CONTROLS):
            found[f"{column}, {change}, {BITS} bits"] = unit * mean_of(rows, column, change)
    for change in ("rtn", *CONTROLS):
        last = [row["kl_steps"][-1] for row in store.select(rows, how="fixed", change=change)]
        found[f"kl of the last forward, {change}, {BITS} bits"] = sum(last) / len(last)
    for row in store.select(rows, how="answers"):
        name = f"{row['model']} {row['bits']} bits"
        lost = difference.between(row["float"], row["correct"]).times(100)
        found |= {f"{name}, texts that differ, %": 100 * row["differ"].count("1") / len(row["differ"])}
        found |= {f"{name}, lost, points": lost.mean, f"{name}, lost, word": lost.word}
    return found


TABLE = Table(
    "05_errors",
    settings,
    run,
    live=(
        {"model": "llada-mini", "how": "fixed", "change": "rtn", "bits": 3, "seed": 0},
        {"model": "llama-mini", "how": "answers", "change": "rtn", "bits": 3, "seed": 0},
    ),
    size=8,
    tolerance=dict.fromkeys(FORCED, (0.1, 0.3)) | {"mismatch": (0.2, 0.3), "first": (4.0, 0.0)},  # of one problem
    headlines=headlines,
)
