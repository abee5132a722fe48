"""Notebook 05: quantizers at few bits, for both models: exact match, likelihood, real bytes.

All grids are alike: asymmetric, a 16-bit scale and a zero point for `GROUP` weights. So methods of equal bits have
equal *real* bits. A seed draws the calibration texts, the rotation, the noise of the control and the masks under which
the likelihood is taken; exact match of what reads no texts is the same for every seed.

The negative control is noise: each group of weights gets Gaussian noise as large as the error of rounding it.
"""

import copy
from collections.abc import Sequence
from functools import cache

import torch

from dlmlab.compress import calibration, methods, storage
from dlmlab.compress.quant import quantize
from dlmlab.compress.registry import compress
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import difference, evaluate, store
from dlmlab.measure.difference import Difference
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.network.checkpoint import load
from dlmlab.network.codes import QSpec, cells
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import SEEDS, answer_bound, dense
from dlmlab.task import tasks

MODELS = ("llada-mini", "llama-mini")
GROUP = 64
TEXTS = 64  # for calibration: one state each
PROBLEMS, BOUND_PROBLEMS, DRAWS = 500, 128, 2  # exact match; likelihood and its masks a seed
SAMPLER = Sampler(commit=Threshold(0.9))
TOLERANCE = {"nats": (0.02, 0.05), "nfe": (2.0, 0.5)}  # `nfe` is a mean over the problems
GRID = {  # what is measured, the most telling bits first
    "float": (32,),
    "rtn": (3, 2, 4, 8),
    "gptq": (3, 2, 4),
    "noise": (3, 2),
    "awq": (3, 2),
    "smooth": (3, 2),
}
WITHOUT_TEXTS = ("float", "rtn")
RIVALS = (  # bits, and two others that are compared: methods of equal bits, and a repair with one bit more
    *((bits, ("gptq", bits), ("awq", bits)) for bits in (3, 2)),
    (3, ("gptq", 3), ("rtn", 4)),
    (2, ("gptq", 2), ("rtn", 3)),
)


def spec(bits: int) -> QSpec:
    """Return the grid of this notebook."""
    return QSpec(bits, group=GROUP)


def texts_for(model: str, seed: int) -> methods.Texts:
    """Draw what a quantizer may look at: noised answers, or clean texts for the twin, which never sees a mask."""
    problems = calibration.calibration_problems(TEXTS, seed=seed)
    mode, region = ("uniform", "answer") if model == "llada-mini" else ("clean", "all")
    return methods.Texts(load("llada-mini").tokenizer, problems, mode, region, seed)


@torch.no_grad()
def noised(model: LLaDAModelLM, bits: int, generator: torch.Generator) -> LLaDAModelLM:
    """Return a copy of the model whose weights carry noise: in each group as large as its rounding error."""
    rounded, model = compress(model, "rtn", spec(bits)), copy.deepcopy(model)
    for W, new in zip(parts.weights(model).values(), parts.weights(rounded).values(), strict=True):
        error, noise = cells(new - W, spec(bits)), torch.randn(W.shape, generator=generator)
        noise = cells(noise, spec(bits))
        W += (noise * (error.norm(dim=-1) / noise.norm(dim=-1))[..., None]).view(W.shape)
    return model


def quantized(model: str, method: str, bits: int, seed: int = 0) -> LLaDAModelLM:
    """Make one model of the table, its weights fake-quantized."""
    if method == "float":
        return dense(model)
    if method == "noise":
        return noised(dense(model), bits, torch.Generator().manual_seed(seed))
    return quantize.apply(dense(model), method, texts=texts_for(model, seed), bits=bits, group=GROUP)


@cache
def stored(model: str, bits: int) -> dict:
    """Count the bits a weight of the block matrices and the bytes of a model; no method changes either."""
    small = dense(model) if bits == 32 else compress(dense(model), "rtn", spec(bits), packed=True)
    return {"real_bits": round(storage.bits_of(small), 5), "bytes": storage.model_bytes(small)}


def judged(
    model,
    *,
    sampler: Sampler = SAMPLER,
    problems: int = PROBLEMS,
    size: int | None = None,
    generator: torch.Generator | None = None,
) -> dict:
    """Answer the first problems of the test split: `correct` one digit a problem, `nfe` forwards a problem."""
    test = tasks.load_split("test")[: size or problems]
    result = evaluate.accuracy(model, load("llada-mini").tokenizer, test, sampler=sampler, generator=generator)
    return {"correct": result.correct, "nfe": round(result.mean_nfe, 3)}


@cache
def _judged_once(model: str, method: str, bits: int, size: int | None) -> dict:
    return judged(quantized(model, method, bits), size=size)


def bound(model, seed: int, size: int | None = None) -> list[float]:
    """Bound the likelihood of the answers under the masks of a seed, in nats, one number a problem."""
    return answer_bound(model, problems=BOUND_PROBLEMS, draws=DRAWS, seed=seed, size=size)


def settings() -> list[dict]:
    """List every method of both models in turn, so that an interrupted measurement has something of each."""
    arms = [
        (method, bits, model, seed)
        for method, widths in GRID.items()
        for bits in widths
        for model in MODELS
        for seed in SEEDS
    ]
    return [dict(zip(("method", "bits", "model", "seed"), arm, strict=True)) for arm in arms]


def run(model: str, method: str, bits: int, seed: int, size: int | None = None) -> dict:
    """Measure one model: answers, likelihood, and what it takes to store it."""
    if method in WITHOUT_TEXTS:
        small, found = quantized(model, method, bits), _judged_once(model, method, bits, size)
    else:
        small = quantized(model, method, bits, seed)
        found = judged(small, size=size)
    return found | {"nats": bound(small, seed, size)} | stored(model, bits)


# ------------------------------------------------------------------------------------------------ what pages quote


def every_seed(rows: Sequence[dict], **key) -> list[dict]:
    """Repeat the row with this key, in which nothing was drawn, for every seed: to be paired with rows that have
    seeds."""
    (row,) = store.select(rows, **key)
    return [row | {"seed": seed} for seed in SEEDS]


def by_bits(rows: Sequence[dict], method: str, against: str, *, column: str, **key) -> dict[str, Difference]:
    """Compare two methods at every bit width that both have, by "3 bits"; the float model has one width for all."""
    widths = sorted({row["bits"] for row in store.select(rows, method=method, **key)})
    found = {}
    for bits in widths:
        b = {"method": against, "bits": 32 if against == "float" else bits} | key
        if store.measured(rows, **b):
            a = {"method": method, "bits": bits} | key
            found[f"{bits} bits"] = difference.of_rows(rows, a, b, column=column)
    return found


def twins(rows: Sequence[dict], method: str, bits: int) -> Difference:
    """Exact match that LLaDA-mini loses by quantization minus what its twin loses, over the same problems."""
    losses = []
    for model in MODELS:
        for row in store.select(rows, model=model, method=method, bits=bits):
            (whole,) = store.select(rows, model=model, method="float", seed=row["seed"])
            lost = [int(a) - int(b) for a, b in zip(whole["correct"], row["correct"], strict=True)]
            losses.append({"model": model, "seed": row["seed"], "lost": lost})
    return difference.of_rows(losses, {"model": MODELS[0]}, {"model": MODELS[1]}, column="lost")


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote: every method against RTN and against the float model, in nats and in points."""
    found: dict[str, float | str] = {}
    for model in MODELS:
        for row in store.select(rows, model=model, method="float", seed=0):
            found[f"{model} float, exact match"] = 100 * evaluate.Proportion.of(row["correct"]).value
        for method in GRID:
            if method == "float":
                continue
            pairs = [(against, column) for against in ("float", "rtn") for column in ("correct", "nats")]
            for against, column in pairs:
                if against == method:
                    continue
                unit = 100 if column == "correct" else 1
                gaps = by_bits(rows, method, against, column=column, model=model)
                name = f"{model} {method} - {against}, {'points' if column == 'correct' else 'nats'},"
                found |= difference.headlines(name, {k: d.times(unit) for k, d in gaps.items()})
    for method, widths in (("rtn", (2, 3, 4)), ("gptq", (2, 3, 4))):
        both = {f"{bits} bits": twins(rows, method, bits).times(100) for bits in widths}
        found |= difference.headlines(f"{method} LLaDA's loss - twin's, points,", both)
    for bits, a, b in RIVALS:
        name = f"{a[0]} {a[1]} bits - {b[0]} {b[1]} bits" if a[1] != b[1] else f"{a[0]} - {b[0]}"
        pair = [{"model": MODELS[0], "method": method, "bits": width} for method, width in (a, b)]
        for column, unit, word in (("nats", 1, "nats"), ("correct", 100, "points")):
            gap = difference.of_rows(rows, *pair, column=column).times(unit)
            found |= difference.headlines(f"{MODELS[0]} {name}, {word},", {f"{bits} bits": gap})
    for bits in (8, 4, 3, 2):
        (row,) = store.select(rows, model=MODELS[0], method="rtn", bits=bits, seed=0)
        found |= {f"real bits {bits}": row["real_bits"], f"kB {bits}": row["bytes"] / 1000}
    return found


TABLE = Table(
    "05_methods",
    settings,
    run,
    live=(
        {"model": "llada-mini", "method": "rtn", "bits": 3, "seed": 0},
        {"model": "llama-mini", "method": "noise", "bits": 2, "seed": 1},
        {"model": "llama-mini", "method": "gptq", "bits": 3, "seed": 0},
    ),
    size=10,
    tolerance=TOLERANCE,
    headlines=headlines,
)
