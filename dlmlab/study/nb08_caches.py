"""Notebook 08: what rules and caches cost and what they keep, on the same problems; and how far keys drift.

Accuracy, forwards, tokens and FLOPs do not depend on the machine. Time is the business of `python -m dlmlab bench`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dlmlab.decode.cache import DelayedCache, DualCache, PrefixCache
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.drift import KINDS, drift
from dlmlab.decode.focus import Focus
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.measure import evaluate
from dlmlab.measure.difference import between
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.study.stand_in import load
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt

PROBLEMS = 100  # of the test split, the same for every method
BLOCK = 8
AGES = (1, 2, 4, 8, 16)
BASELINE = ("fixed schedule", "40 forwards")


@dataclass(frozen=True)
class Method:
    """One point of the front: a family, its setting, and the sampler (None: the twin)."""

    family: str
    setting: str
    sampler: Sampler | None


def caches() -> dict[str, object]:
    """Name the caches compared in blocks of `BLOCK`."""
    return {
        "no cache": None,
        "prefix cache": PrefixCache(),
        "dual cache": DualCache(),
        "delayed cache": DelayedCache(),
        "FOCUS": Focus(),
    }


def methods() -> list[Method]:
    """List the points of the front, the cheap ones first; `01_sampling` has other rules, on the whole test split."""
    found = [Method("threshold", f"tau {tau}", Sampler(commit=Threshold(tau))) for tau in (0.3, 0.5, 0.7, 0.9, 0.98)]
    found += [
        Method(f"threshold, {name}", "one block", Sampler(commit=Threshold(0.9), cache=cache))
        for name, cache in caches().items()
        if name in ("dual cache", "delayed cache", "FOCUS")
    ]
    found += [Method("twin with cache", "", None)]
    found += [_blind("fixed schedule", n) for n in (5, 20, 40)]
    found += [_blind("left to right", n, score="left_to_right") for n in (5, 10)]
    stops = {"score": "left_to_right", "stop_at_eos": True}
    found += [_blind("left to right, stop at end", 6, **stops)]
    found += [_blind("left to right, stop at end, dual cache", 6, **stops, cache=DualCache())]
    for commit, label in ((Threshold(0.9), "threshold"), (Fixed(20), "20 forwards")):
        found += [
            Method(f"{label}, {name}", f"blocks of {BLOCK}", Sampler(commit=commit, block_length=BLOCK, cache=cache))
            for name, cache in caches().items()
        ]
    return found


def _blind(family: str, forwards: int, **options) -> Method:
    """Make a schedule that commits by quota, whatever the model is sure of."""
    return Method(family, f"{forwards} forwards", Sampler(commit=Fixed(forwards), **options))


def run(family: str, setting: str, size: int | None = None) -> dict:
    """Answer the first test problems with one method; `correct` holds one 0 or 1 a problem, costs are means."""
    (method,) = (m for m in methods() if (m.family, m.setting) == (family, setting))
    model, tokenizer = load("llama-mini" if method.sampler is None else "llada-mini")
    problems = tasks.load_split("test")[: size or PROBLEMS]
    result = evaluate.accuracy(model, tokenizer, problems, sampler=method.sampler)
    n = len(problems)
    return {
        "nfe": result.mean_nfe,
        "tokens": result.tokens_through / n,
        "gflop": result.flops / n / 1e9,
        "correct": result.correct,
    }


def headlines(rows: list[dict]) -> dict[str, float]:
    """Give exact match, forwards and tokens of every line, by family and setting; and how many problems there are."""
    found: dict[str, float] = {"problems": len(rows[0]["correct"])}
    for row in rows:
        name = f"{row['family']}, {row['setting']}"
        found[name] = evaluate.Proportion.of(row["correct"]).value
        found |= {f"{name}, {column}": row[column] for column in ("nfe", "tokens", "gflop")}
    return found


FRONT = Table(
    "08_front",
    lambda: [{"family": m.family, "setting": m.setting} for m in methods()],
    run,
    live=(
        {"family": "threshold", "setting": "tau 0.9"},
        {"family": "threshold, dual cache", "setting": f"blocks of {BLOCK}"},
        {"family": "threshold, FOCUS", "setting": f"blocks of {BLOCK}"},
    ),
    size=10,
    tolerance={"nfe": (0.5, 0.3), "tokens": (0.0, 0.4), "gflop": (0.0, 0.4)},  # means over other problems
    headlines=headlines,
)


def summarize(rows: Sequence[dict]) -> list[dict]:
    """Add exact match with its Wilson interval, and the paired difference to one token per forward."""
    (base,) = (r["correct"] for r in rows if (r["family"], r["setting"]) == BASELINE)
    table = []
    for row in rows:
        share = evaluate.Proportion.of(row["correct"])
        low, high = share.interval
        lost = between(row["correct"], base)
        numbers = {"exact_match": share.value, "low": low, "high": high, "difference": lost}
        table.append({k: v for k, v in row.items() if k != "correct"} | numbers)
    return table


@cache
def drift_rows() -> list[dict]:
    """Decode 8 validation problems, one token per forward, without a cache, and measure how keys and values move."""
    model, tokenizer = load("llada-mini")
    prompts = [encode_prompt(tokenizer, p.question) for p in tasks.load_split("validation")[:8]]
    out = sample(model, prompts, sampler=Sampler())
    rows = drift(model, out, ages=AGES, rows=range(len(prompts)))
    return [row | {"key": round(row["key"], 6), "value": round(row["value"], 6)} for row in rows]


def moved(layer: int, age: int, kind: str, size: int | None = None) -> dict:
    """Look up one row of the drift."""
    (row,) = select(drift_rows(), layer=layer, age=age, kind=kind)
    return {k: v for k, v in row.items() if k not in ("layer", "age", "kind")}


DRIFT = Table(
    "08_drift",
    lambda: [
        {"layer": layer, "age": age, "kind": kind}
        for layer in range(load("llada-mini").model.config.n_layers)
        for age in AGES
        for kind in KINDS
    ],
    moved,
    live=[{"layer": layer, "age": age, "kind": kind} for layer in (0, 3) for age in (1, 16) for kind in KINDS],
    tolerance={"key": (0.0005, 0.03), "value": (0.0005, 0.03)},
)
