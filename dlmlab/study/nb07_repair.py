"""Notebook 07: does a model that was trained to edit see a wrong result, and does editing help its answers?

`PLANTED`: the true solution of a test problem in which one result is wrong, with all its later copies, as a model that
erred would have written it. `kind` of the wrong number: `near` (at most nine off), `any` number, any `token` (what the
training drew). One forward; at the place of the result the model may notice (what stands there has less than `NOTICED`)
or mend it (the right one has more than `SURE`). The controls are the right tokens of the undamaged solution: those that
would be replaced (`alarms`) and those that would be noticed (`doubts`).

`EDITED`: the test problems, answered by the model with experts, with and without edits; an edit takes forwards, so that
its control is the same schedule with more of them.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.edit import Remask, Replace
from dlmlab.decode.run import sampler_for
from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, between, of_rows
from dlmlab.measure.difference import headlines as named
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.study.judging import SEEDS
from dlmlab.study.nb07_pair import BLOCK, EXPERTS, MINI, SMALL
from dlmlab.task import layout, tasks

SURE, NOTICED, NUMBERS = 0.9, 0.1, 100
KINDS = ("near", "any", "token")
BATCH = 100


def results(tokenizer, x0: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """Mark the results of equations, (B, L) bool: what stands behind an equals sign of the answer."""
    return F.pad(x0 == tokenizer.convert_tokens_to_ids("="), (1, 0))[:, :-1] & answer


def wrong(kind: str, right: torch.Tensor, tokenizer, generator: torch.Generator) -> torch.Tensor:
    """Draw a wrong token for every right number, (B,) ids -> (B,)."""
    zero, V = tokenizer.convert_tokens_to_ids("0"), len(tokenizer)

    def draw(low: int, high: int) -> torch.Tensor:
        return torch.randint(low, high, right.shape, generator=generator)

    if kind == "near":
        step = draw(1, 10) * (2 * draw(0, 2) - 1)
        other = right - zero + step
        return torch.where((other < 0) | (other >= NUMBERS), right - zero - step, other) + zero
    if kind == "any":
        return (right - zero + draw(1, NUMBERS)) % NUMBERS + zero
    other = (right + draw(1, V)) % V
    taken = other == tokenizer.mask_token_id
    return torch.where(taken, torch.where(right == zero, zero + 1, zero), other)


def planted(tokenizer, problems: Sequence[tasks.Problem], kind: str, seed: int):
    """Plant one wrong result in each solution, with its copies behind it: true ids (B, L), damaged ids, which tokens
    are of the written solution (B, L) bool, and where the wrong result stands (B,)."""
    rows, generator = layout.encode_rows(tokenizer, problems, side="right"), torch.Generator().manual_seed(seed)
    x0, found = rows.x0, results(tokenizer, rows.x0, rows.answer)
    place = torch.rand(x0.shape, generator=generator).masked_fill(~found, -1.0).argmax(1)  # (B,)
    right = x0.gather(1, place[:, None])[:, 0]
    other = wrong(kind, right, tokenizer, generator)
    behind = torch.arange(x0.shape[1])[None] >= place[:, None]
    copies = rows.answer & behind & (x0 == right[:, None])
    written = rows.answer & (x0 != tokenizer.eos_token_id)
    return x0, torch.where(copies, other[:, None], x0), written, place


@torch.inference_mode()
def seen(model, x: torch.Tensor) -> torch.Tensor:
    """Probabilities of a forward over written texts, (B, L, V)."""
    return torch.cat([model(part).logits.softmax(-1) for part in x.split(BATCH)])


def find(model: str, kind: str, seed: int, size: int | None = None) -> dict:
    """Look for one planted error in each test solution: `noticed` and `mended` one digit a problem, `alarms` the share
    of right tokens that would be replaced, `doubts` of those that it would notice as if they were wrong."""
    net, tokenizer = load(model)
    x0, damaged, written, place = planted(tokenizer, tasks.load_split("test"), kind, seed)
    x0, damaged, written, place = (x[:size] for x in (x0, damaged, written, place))
    at = torch.arange(len(x0)), place
    p = seen(net, damaged)
    noticed = p[(*at, damaged[at])] < NOTICED
    mended = p[(*at, x0[at])] > SURE
    calm, n = seen(net, x0), written.sum(1)
    top, choice = calm.max(-1)
    alarm = (written & (choice != x0) & (top > SURE)).sum(1) / n
    doubt = (written & (calm.gather(2, x0[..., None])[..., 0] < NOTICED)).sum(1) / n
    return {
        "noticed": evaluate.digits(noticed.tolist()),
        "mended": evaluate.digits(mended.tolist()),
        "alarms": [round(v, 4) for v in alarm.tolist()],
        "doubts": [round(v, 4) for v in doubt.tolist()],
    }


def repairs(rows: Sequence[dict], kind: str, column: str = "mended") -> dict[str, Difference]:
    """Compare the share found in one model with each of the others, over problems and seeds, in points."""
    pairs = ((EXPERTS, MINI), (SMALL, MINI), (EXPERTS, SMALL))
    return {
        f"{a} - {b}": of_rows(rows, {"model": a, "kind": kind}, {"model": b, "kind": kind}, column=column).times(100)
        for a, b in pairs
    }


def share(rows: Sequence[dict], model: str, kind: str, column: str) -> float:
    """Mean of a column over problems and seeds, in percent."""
    found = [[*map(float, row[column])] for row in select(rows, model=model, kind=kind)]
    return 100 * sum(map(sum, found)) / sum(map(len, found))


def planted_lines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for kind in KINDS:
        for model in (EXPERTS, SMALL, MINI):
            for column in ("noticed", "mended", "alarms", "doubts"):
                found[f"{model}, {kind}, {column}"] = share(rows, model, kind, column)
        found |= named(f"{kind}, mended,", repairs(rows, kind))
    return found


PLANTED = Table(
    "07_planted",
    lambda: [{"model": m, "kind": k, "seed": s} for s in SEEDS for k in KINDS for m in (EXPERTS, SMALL, MINI)],
    find,
    live=({"model": EXPERTS, "kind": "near", "seed": 0}, {"model": MINI, "kind": "token", "seed": 1}),
    size=20,
    tolerance={"alarms": (0.05, 0.0), "doubts": (0.05, 0.0)},
    headlines=planted_lines,
)

COMMITS = {"threshold 0.9": Threshold(0.9), "threshold 0.5": Threshold(0.5)}
COMMITS |= {f"{n} forwards": Fixed(n) for n in (10, 15, 20)}
HASTY = {EXPERTS: "10 forwards"}  # four tokens of a block at once
EDITS = {"none": None, "replace": Replace(SURE), "mask again": Remask(NOTICED)}


def edit_settings() -> list[dict]:
    """List the trained model under a sure, a bold and a hasty schedule with every edit, then longer schedules, and
    LLaDA-mini in blocks of the same length."""
    found = []
    for model, hasty in HASTY.items():
        for commit in ("threshold 0.9", "threshold 0.5", hasty):
            found += [{"model": model, "commit": commit, "edit": edit} for edit in EDITS]
        found += [{"model": model, "commit": f"{n} forwards", "edit": "none"} for n in (15, 20)]
    return found + [{"model": MINI, "commit": "threshold 0.9", "edit": edit} for edit in ("none", "replace")]


def edited(model: str, commit: str, edit: str, size: int | None = None) -> dict:
    """Answer the test problems under one commit and one edit rule."""
    net, tokenizer = load(model)
    blocks = {"block_length": BLOCK} if model == MINI else {}
    how = sampler_for(net.config, commit=COMMITS[commit], edit=EDITS[edit], **blocks)
    result = evaluate.accuracy(net, tokenizer, tasks.load_split("test")[:size], sampler=how)
    return {"correct": result.correct, "nfe": round(result.mean_nfe, 3)}


def gains(rows: Sequence[dict], model: str) -> dict[str, Difference]:
    """Compare every edit with none, and under a planned schedule with each longer one without an edit, in points."""
    mine, found = select(rows, model=model), {}
    for row in mine:
        if row["edit"] == "none":
            continue
        (base,) = select(mine, commit=row["commit"], edit="none")
        found[f"{row['commit']}, {row['edit']}"] = between(row["correct"], base["correct"]).times(100)
        planned = row["commit"].endswith("forwards")
        for control in mine if planned else ():
            if control["edit"] == "none" and control["commit"].endswith("forwards") and control["nfe"] > base["nfe"]:
                name = f"{row['commit']}, {row['edit']}, against {control['commit']}"
                found[name] = between(row["correct"], control["correct"]).times(100)
    return found


def edit_lines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for model in (*HASTY, MINI):
        found |= named(f"{model},", gains(rows, model))
    return found


EDITED = Table(
    "07_trained_edits",
    edit_settings,
    edited,
    live=({"model": EXPERTS, "commit": "threshold 0.9", "edit": "replace"},),
    size=12,
    tolerance={"nfe": (1.5, 0.5)},
    headlines=edit_lines,
)
