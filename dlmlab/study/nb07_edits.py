"""Notebook 07: what an edit rule does to a model that was never trained to edit.

LLaDA-mini has no loss at visible positions, so what it believes there was never asked for. Two schedules: a sure one, a
threshold, under which there is little to correct; and a hasty one, five forwards for the whole answer, under which one
problem in three goes wrong.

An edit takes forwards. Its control is not the schedule without it but one that has as many forwards and no edit:
`CONTROLS` holds them, and the other cure of haste, an order from left to right.
"""

from collections.abc import Sequence
from dataclasses import replace

from dlmlab.decode import edit
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, between, headlines
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.task import tasks

COMMITS = {"threshold 0.9": Sampler(commit=Threshold(0.9)), "five forwards": Sampler(commit=Fixed(5))}
RULES = {
    "none": None,
    "replace above 0.99": edit.Replace(0.99),
    "replace above 0.9": edit.Replace(0.9),
    "replace above 0.5": edit.Replace(0.5),
    "mask again below 0.1": edit.Remask(0.1),
    "mask again below 0.5": edit.Remask(0.5),
    "mask again below 0.1, 2 more": edit.Remask(0.1, extra=2),
}
EDITS = ("none", "replace above 0.9", "replace above 0.5", "mask again below 0.1", "mask again below 0.5")  # under both
CONTROLS = {
    "7 forwards": Sampler(commit=Fixed(7)),
    "21 forwards": Sampler(commit=Fixed(21)),
    "five, left to right, stop": Sampler("left_to_right", Fixed(5), stop_at_eos=True),
}
PAIRS = {  # forwards spent on edits, against the same number of forwards, or fewer, without
    "16 more for masking again, against 21 plain": ("mask again below 0.1", "21 forwards"),
    "2 more for masking again, against 7 plain": ("mask again below 0.1, 2 more", "7 forwards"),
    "16 more for masking again, against left to right": ("mask again below 0.1", "five, left to right, stop"),
}


def settings() -> list[dict]:
    """List every edit rule under both schedules, then what was asked later and the controls."""
    found = [{"commit": commit, "edit": rule} for commit in COMMITS for rule in EDITS]
    found += [{"commit": "threshold 0.9", "edit": "replace above 0.99"}]
    found += [{"commit": "five forwards", "edit": "mask again below 0.1, 2 more"}]
    return found + [{"commit": commit, "edit": "none"} for commit in CONTROLS]


def run(commit: str, edit: str, size: int | None = None) -> dict:
    """Answer the test problems under one commit and one edit rule."""
    model, tokenizer = load("llada-mini")
    problems = tasks.load_split("test")[:size]
    sampler = replace((COMMITS | CONTROLS)[commit], edit=RULES[edit])
    result = evaluate.accuracy(model, tokenizer, problems, sampler=sampler)
    return {"correct": result.correct, "nfe": round(result.mean_nfe, 3)}


def gains(rows: Sequence[dict], commit: str) -> dict[str, Difference]:
    """Compare every edit rule with none, in points, by the name of the rule."""
    found = {row["edit"]: row["correct"] for row in select(rows, commit=commit)}
    return {rule: between(found[rule], found["none"]).times(100) for rule in RULES if rule in found and rule != "none"}


def controls(rows: Sequence[dict]) -> dict[str, Difference]:
    """Compare forwards that were spent on edits with as many, or fewer, without an edit, in points."""
    return {
        name: between(
            select(rows, commit="five forwards", edit=rule)[0]["correct"],
            select(rows, commit=control, edit="none")[0]["correct"],
        ).times(100)
        for name, (rule, control) in PAIRS.items()
    }


def quoted(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found = headlines("control", controls(rows))
    for commit in COMMITS:
        found |= headlines(commit, gains(rows, commit))
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
