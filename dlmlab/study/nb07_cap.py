"""Notebook 07: a short confidence-aware fine-tuning of the model with experts, beside the same steps without.

`weight`: of the entropy of what is right (`dlmlab.confidence`); 0 is the control, None the model before any step. After
such training a threshold means something else, so each model is asked at several: what counts is exact match against
forwards, not either alone.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch

from dlmlab.decode.commit import Threshold
from dlmlab.decode.run import sampler_for
from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.difference import headlines as named
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import DATA, load
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.batches import TrainConfig
from dlmlab.objective.training import Run
from dlmlab.study.judging import SEEDS, answer_bound
from dlmlab.study.nb07_pair import EXPERTS
from dlmlab.task import tasks

TAUS, WEIGHTS = (0.98, 0.9, 0.7, 0.5), (0.0, 0.5, 2.0)
FIRST_STEPS, FIRST_PROBLEMS = 2, 6  # of what is repeated live


def recipe(weight: float, seed: int) -> TrainConfig:
    """Read the recipe of the fine-tuning, with another weight or seed."""
    config = TrainConfig.read(DATA / EXPERTS / "confidence.toml")
    return replace(config, sharpen=weight, seed=seed, threads=torch.get_num_threads())


@cache
def tuned(weight: float | None, seed: int | None, steps: int | None = None) -> LLaDAModelLM:
    """Fine-tune the model with experts; without a weight it is what it was."""
    if weight is None:
        return load(EXPERTS).model
    with tempfile.TemporaryDirectory() as folder:
        return Run(recipe(weight, seed), folder).run(stop_after=steps, say=lambda line: None)


def run(weight: float | None, seed: int | None, size: int | None = None) -> dict:
    """Ask one model the test problems at every threshold."""
    if size:
        return {"begin": answer_bound(tuned(weight, seed, FIRST_STEPS), problems=FIRST_PROBLEMS, draws=1)}
    model, tokenizer = tuned(weight, seed), load(EXPERTS).tokenizer
    row = {}
    for tau in TAUS:
        how = sampler_for(model.config, commit=Threshold(tau), stop_at_eos=True)
        result = evaluate.accuracy(model, tokenizer, tasks.load_split("test"), sampler=how)
        row |= {f"correct {tau}": result.correct, f"nfe {tau}": result.nfe}
    return row | {"begin": answer_bound(tuned(weight, seed, FIRST_STEPS), problems=FIRST_PROBLEMS, draws=1)}


def settings() -> list[dict]:
    """List the model before, then each weight seed by seed."""
    return [{"weight": None, "seed": None}] + [{"weight": w, "seed": s} for s in SEEDS for w in WEIGHTS]


def effects(rows: Sequence[dict], weight: float, tau: float, column: str = "nfe") -> dict[str, Difference]:
    """Compare one weight with the model before and with the same steps without: forwards, or points of exact match."""
    factor = 100 if column == "correct" else 1
    others = {"before": {"weight": None}} | ({"same steps": {"weight": 0.0}} if weight else {})
    return {
        name: of_rows(rows, {"weight": weight}, other, column=f"{column} {tau}").times(factor)
        for name, other in others.items()
    }


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for weight in WEIGHTS:
        for tau in TAUS:
            found |= named(f"{weight:g} at {tau}, forwards,", effects(rows, weight, tau))
            found |= named(f"{weight:g} at {tau}, points,", effects(rows, weight, tau, "correct"))
    return found


TABLE = Table(
    "07_confidence",
    settings,
    run,
    live=({"weight": 2.0, "seed": 0},),
    size=FIRST_PROBLEMS,
    tolerance={"begin": (0.1, 0.05)},
    headlines=headlines,
)
