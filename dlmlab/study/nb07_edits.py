"""Notebook 07: what an edit rule does to a model that was never trained to edit.

LLaDA-mini has no loss at visible positions, so what it believes there was never asked for. Two schedules: a sure one, a
threshold, under which there is little to correct; and a hasty one, five forwards for the whole answer, under which one
problem in three goes wrong.
"""

from collections.abc import Sequence

from dlmlab.decode import edit
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, between, headlines, words
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.task import tasks

COMMITS = {"threshold 0.9": Threshold(0.9), "five forwards": Fixed(5)}
EDITS = {
    "none": None,
    "replace above 0.9": edit.Replace(0.9),
    "replace above 0.5": edit.Replace(0.5),
    "mask again below 0.1": edit.Remask(0.1),
    "mask again below 0.5": edit.Remask(0.5),
}


def settings() -> list[dict]:
    """List every edit rule under both schedules."""
    return [{"commit": commit, "edit": rule} for commit in COMMITS for rule in EDITS]


def run(commit: str, edit: str, size: int | None = None) -> dict:
    """Answer the test problems under one commit and one edit rule."""
    model, tokenizer = load("llada-mini")
    problems = tasks.load_split("test")[:size]
    sampler = Sampler(commit=COMMITS[commit], edit=EDITS[edit])
    result = evaluate.accuracy(model, tokenizer, problems, sampler=sampler)
    return {"correct": result.correct, "nfe": round(result.mean_nfe, 3)}


def gains(rows: Sequence[dict], commit: str) -> dict[str, Difference]:
    """Compare every edit rule with none, in points, by the name of the rule."""
    base = select(rows, commit=commit, edit="none")[0]["correct"]
    return {
        rule: between(select(rows, commit=commit, edit=rule)[0]["correct"], base).times(100)
        for rule in EDITS
        if rule != "none"
    }


def quoted(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found = {}
    for commit in COMMITS:
        found |= headlines(commit, gains(rows, commit)) | {f"{commit}, words": words(gains(rows, commit))}
    return found


TABLE = Table(
    "07_edits",
    settings,
    run,
    live=({"commit": "five forwards", "edit": "mask again below 0.5"}, {"commit": "threshold 0.9", "edit": "none"}),
    size=12,
    tolerance={"nfe": (1.0, 0.5)},
    headlines=quoted,
)
