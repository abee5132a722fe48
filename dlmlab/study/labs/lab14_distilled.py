"""Lab 14: LLaDA-mini after a short distillation, beside plain training of the same cost, judged at several decoders.

Every student starts from the shipped weights, sees the same batches in the same order, and may spend the FLOPs of
`STEPS` plain steps: a forward and a backward of the student cost three forwards, two forwards of the teacher two more,
so a student of a teacher takes 3/5 of the steps. Masks are those of the last stage of LLaDA-mini's own training.

`before`: LLaDA-mini as it is. `plain`: cross-entropy. `confidence`: cross-entropy and the entropy of what is right
(`dlmlab.confidence`). `through time`: the two steps of a teacher at once (`dlmlab.distill`), half of the masks first,
by chance.

A run takes a minute: what it shows is the direction in which a loss pushes a finished model, not what a full training
reaches. The rate was set after smaller pilots on test problems, which all lost; another one stands beside it.
"""

import copy
import itertools
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.compress.recovery import recipe
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.difference import headlines as named
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.network.cost import forward_flops
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective import distill
from dlmlab.objective.batches import Batch, Batches
from dlmlab.objective.confidence import right_entropy
from dlmlab.objective.training import build_optimizers, rates, schedule, set_rates
from dlmlab.study import nb01_sampling
from dlmlab.study.judging import SEEDS, answer_bound
from dlmlab.task import layout, tasks

STEPS, ROWS, RATE, WEIGHT = 150, 16, 2e-4, 2.0  # plain steps; weight of the entropy, as in the released recipe
ARMS = ("confidence", "through time", "plain")
OTHERS = ({"rate": 1e-3}, {"rate": 5e-5})  # attempts, one seed each
FIRST_STEPS, FIRST_PROBLEMS = 2, 4  # of what is repeated live
HOW = {
    "threshold 0.9": Sampler(commit=Threshold(0.9), stop_at_eos=True),
    "one forward": Sampler(commit=Fixed(1)),
}
PROBLEMS, HIDDEN = 500, 128  # of the test split: asked, and asked with a hidden number


def steps_of(arm: str, steps: int = STEPS) -> int:
    """Say how many steps an arm may take for the cost of so many plain ones."""
    return steps if arm in ("plain", "confidence") else round(steps / distill.plain_steps(1))


def loss_of(arm: str, model, teacher, batch: Batch, generator: torch.Generator) -> Tensor:
    """Give the loss of a batch, a mean over its masked places."""
    guess, truth = model(batch.inputs, kernel="explicit").logits[batch.weight], batch.targets[batch.weight]
    if arm in ("plain", "confidence"):
        loss = F.cross_entropy(guess, truth)
        return loss + WEIGHT * right_entropy(guess, truth).mean() if arm == "confidence" else loss
    first, mask_id = distill.by_chance(0.5, generator), teacher.config.mask_token_id
    target = distill.two_step_target(teacher, batch.inputs, mask_id, first=first, generator=generator)
    return distill.divergence(guess, target[batch.weight]).mean()


@cache
def student(
    arm: str, seed: int | None, steps: int = STEPS, rate: float = RATE, stop_after: int | None = None
) -> tuple[LLaDAModelLM, float]:
    """Train a student for the cost of so many plain steps, or the first `stop_after` of its steps; with the operations
    that it took, in 1e12."""
    teacher = load("llada-mini").model
    if arm == "before":
        return teacher, 0.0
    config = recipe(steps_of(arm, steps), rows=ROWS, lr=rate, seed=seed)
    model, batches, spent, seen = copy.deepcopy(teacher).train(), Batches(config), 0, 0
    optimizers = build_optimizers(model, config)
    base, generator = rates(optimizers), torch.Generator().manual_seed(seed)
    forwards = 3 if arm in ("plain", "confidence") else 5
    for step in range(stop_after or steps_of(arm, steps)):
        batch = batches(step)
        set_rates(optimizers, base, schedule(seen, step, config))
        loss_of(arm, model, teacher, batch, generator).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        B, L = batch.inputs.shape
        spent, seen = spent + forwards * B * forward_flops(model.config, L), seen + B * L
    return model.eval(), spent / 1e12


@torch.inference_mode()
def hidden_number(model: LLaDAModelLM, problems: Sequence[tasks.Problem]) -> dict[str, list[float]]:
    """Hide the first number of a question and the whole answer: `hidden nats`, -log p of what stood there, and `hidden
    entropy` of the guess. Several numbers fit, so a sure guess is a wrong one."""
    _, tokenizer = load("llada-mini")
    rows = layout.encode_rows(tokenizer, problems, side="left")
    numbers = torch.tensor([tokenizer.convert_tokens_to_ids(str(n)) for n in range(100)])
    place = (torch.isin(rows.x0, numbers) & rows.question).int().argmax(1)  # (B,)
    x = torch.where(rows.answer, tokenizer.mask_token_id, rows.x0)
    x[torch.arange(len(x)), place] = tokenizer.mask_token_id
    log_p = torch.cat(
        [
            model(ids, valid, logits_to_keep=at[:, None]).logits[:, 0]
            for ids, valid, at in zip(x.split(50), rows.valid.split(50), place.split(50), strict=True)
        ]
    ).log_softmax(-1)  # (B, V)
    truth = rows.x0[torch.arange(len(x)), place]
    found = {
        "hidden nats": -log_p.gather(-1, truth[:, None])[:, 0],
        "hidden entropy": -(log_p.exp() * log_p).sum(-1),
    }
    return {name: [round(v, 4) for v in values.tolist()] for name, values in found.items()}


def run(arm: str, seed: int | None, steps: int, rate: float, size: int | None = None) -> dict:
    """Ask one student the test problems at every decoder: verdicts and forwards, problem by problem."""
    problems, tokenizer = tasks.load_split("test")[:PROBLEMS], load("llada-mini").tokenizer
    begin, _ = student(arm, seed, steps, rate, FIRST_STEPS)
    row: dict = {"begin": answer_bound(begin, problems=FIRST_PROBLEMS, draws=1)}
    if size and arm != "before":
        return row
    model, spent = student(arm, seed, steps, rate)
    for name, how in HOW.items():
        result = evaluate.accuracy(model, tokenizer, problems[:size], sampler=how)
        row |= {f"correct {name}": result.correct} | ({} if size else {f"nfe {name}": result.nfe})
    return row | hidden_number(model, problems[: size or HIDDEN]) | ({} if size else {"tflop": round(spent, 4)})


def settings() -> list[dict]:
    """List the students seed by seed, LLaDA-mini as it is, and attempts with another rate."""
    usual = {"steps": STEPS, "rate": RATE}
    keys = [{"arm": arm, "seed": seed} | usual for seed in SEEDS for arm in ARMS]
    keys += [{"arm": arm, "seed": 0} | usual | other for other in OTHERS for arm in ARMS]
    return [*keys[:3], {"arm": "before", "seed": None, "steps": 0, "rate": 0.0}, *keys[3:]]


def usual(rows: Sequence[dict]) -> list[dict]:
    """Leave out the attempts."""
    return [row for row in rows if row["arm"] == "before" or (row["steps"], row["rate"]) == (STEPS, RATE)]


# ------------------------------------------------------------------------------------------------ what is read off


def rises(rows: Sequence[dict], how: str) -> list[dict]:
    """Add how many forwards one more equation costs, as `rise`: a line fitted to each row, one value a problem.

    The mean of the values is the slope s of the line; a value is s + N w (forwards - line), w = (k - mean k) / sum (k -
    mean k)^2, so that their bootstrap is that of the slope (to first order).
    """
    k = np.array([problem.steps for problem in tasks.load_split("test")], dtype=float)
    found = []
    for row in rows:
        nfe = np.array(row[f"nfe {how}"], dtype=float)
        k_row = k[: len(nfe)]
        w = (k_row - k_row.mean()) / ((k_row - k_row.mean()) ** 2).sum()
        slope = float(w @ nfe)
        rest = nfe - nfe.mean() - slope * (k_row - k_row.mean())
        found.append(row | {"rise": (slope + len(nfe) * w * rest).tolist()})
    return found


def by_equations(rows: Sequence[dict], arm: str, column: str) -> dict[int, float]:
    """Mean of a column by number of equations in the true solution, over problems and seeds."""
    k = [problem.steps for problem in tasks.load_split("test")]
    groups: dict[int, list[float]] = {}
    for row in select(rows, arm=arm):
        for steps, value in zip(k, map(float, row[column]), strict=False):
            groups.setdefault(steps, []).append(value)
    return {steps: sum(values) / len(values) for steps, values in sorted(groups.items())}


def mean(rows: Sequence[dict], arm: str, column: str) -> float:
    """Mean of a column over problems and seeds."""
    mine = [float(value) for row in select(rows, arm=arm) for value in row[column]]
    return sum(mine) / len(mine)


def effects(rows: Sequence[dict], how: str, what: str, other: str) -> dict[str, Difference]:
    """Compare every student with `other`, an arm: points of exact match, forwards, or forwards an equation (`rise`)."""
    data = rises(rows, how) if what == "rise" else rows
    column = {"points": f"correct {how}", "forwards": f"nfe {how}", "rise": "rise"}[what]
    factor = 100 if what == "points" else 1
    arms = [arm for arm in ARMS if arm != other]
    return {arm: of_rows(data, {"arm": arm}, {"arm": other}, column=column).times(factor) for arm in arms}


def rivals() -> dict[str, dict]:
    """Give what LLaDA-mini as it is does without any training, from the table of notebook 01: rows by name."""
    stored, stopped = nb01_sampling.stored(), "left to right, stop at end"
    found = {f"threshold {tau}": nb01_sampling.key("threshold", Threshold(tau)) for tau in (0.98, 0.9, 0.7, 0.5)}
    found |= {f"left to right in {n}": nb01_sampling.key(stopped, Fixed(n)) for n in (3, 4, 5, 6, 7)}
    return {name: select(stored, **key)[0] for name, key in found.items()}


def against(rows: Sequence[dict], arm: str, how: str, rival: str) -> Difference:
    """Compare a student at one decoder with LLaDA-mini as it is at another, in points of exact match."""
    theirs = {"arm": "rival", "seed": None, "correct": rivals()[rival]["correct"][:PROBLEMS]}
    ours = [{"arm": arm, "seed": row["seed"], "correct": row[f"correct {how}"]} for row in select(rows, arm=arm)]
    return of_rows([*ours, theirs], {"arm": arm}, {"arm": "rival"}, column="correct").times(100)


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    rows, found = usual(rows), {}
    for how, other in itertools.product(HOW, ("before", "plain")):
        found |= named(f"{how}, points, against {other},", effects(rows, how, "points", other))
        if how != "one forward":
            found |= named(f"{how}, forwards, against {other},", effects(rows, how, "forwards", other))
    for other in ("before", "plain"):
        found |= named(f"rise, against {other},", effects(rows, "threshold 0.9", "rise", other))
    for name in ("threshold 0.7", "left to right in 5", "left to right in 6"):
        found |= named(f"against {name},", {arm: against(rows, arm, "threshold 0.9", name) for arm in ARMS})
        found |= {f"{name}, nfe": rivals()[name]["nfe"]}
    for column in ("hidden nats", "hidden entropy"):
        differences = {arm: of_rows(rows, {"arm": arm}, {"arm": "before"}, column=column) for arm in ARMS}
        found |= named(f"{column}, against before,", differences)
    for arm in ("before", *ARMS):
        found[f"rise, {arm}"] = mean(rises(rows, "threshold 0.9"), arm, "rise")
        for column in ("hidden nats", "hidden entropy"):
            found[f"{column}, {arm}"] = mean(rows, arm, column)
        for how in HOW:
            found[f"{how}, match, {arm}"] = mean(rows, arm, f"correct {how}")
            found[f"{how}, forwards, {arm}"] = mean(rows, arm, f"nfe {how}")
    return found


TABLE = Table(
    "14_distilled",
    settings,
    run,
    live=tuple(settings()[i] for i in (1, 3)),
    size=16,
    tolerance={"begin": (0.1, 0.05), "hidden nats": (0.05, 0.05), "hidden entropy": (0.05, 0.05)},
    headlines=headlines,
)
