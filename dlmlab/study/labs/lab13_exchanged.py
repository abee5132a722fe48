"""Lab 13: tokens given up for masks while the answer is written, against the plain schedule with as many forwards.

`EXCHANGED`: P2 by eta and ReMDM, on the schedule that writes the surest first. How many tokens a problem were given up
says what a rule does: `end` right end marks, `early` end marks where text belongs, `right` and `wrong` tokens of the
text. `touched` and `ended`, one digit a problem: whether a wrong one, an early end mark was among them; without either,
nothing was repaired. The plain schedules are those of `01_sampling`.

`DRAWN`: where remasking was made for: tokens drawn at temperature 1, places in random order.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dlmlab.decode import sampling
from dlmlab.decode.commit import Fixed
from dlmlab.decode.revise import P2, ReMDM
from dlmlab.decode.sampling import Sampler
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure import evaluate, store
from dlmlab.measure.difference import Difference, headlines, of_rows
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.study.judging import SEEDS
from dlmlab.study.labs import lab13_drafts as source
from dlmlab.task import layout, tasks

RULES = {f"P2 {eta}": {"edit": P2(eta)} for eta in (0.25, 0.5, 1.0)}
RULES |= {"ReMDM, random": {"edit": ReMDM(0.5)}, "P2 0.5, end marks last": {"edit": P2(0.5), "eos_last": True}}
RULES |= {"P2 0.5, left to right": {"edit": P2(0.5), "score": "left_to_right"}}
DRAWN_RULES = {"plain": None, "ReMDM 0.5": ReMDM(0.5)}
DRAWN_PROBLEMS = 125  # of the test split, with three seeds
TURN = 25  # problems that share a generator
KINDS = ("end", "early", "right", "wrong")
TOLERANCE = {"nfe": (1.0, 0.5)} | dict.fromkeys(KINDS, (3.0, 0.5))  # means over problems
PLAIN = ("probability", "left to right", "end marks last")  # of 01_sampling


def settings() -> list[dict]:
    """List eta at five forwards, then ten, then the controls and ReMDM with three seeds."""
    found = [(f"P2 {eta}", 5, None) for eta in (0.5, 0.25, 1.0)]
    found += [("ReMDM, random", 5, seed) for seed in SEEDS] + [("P2 0.5", 10, None)]
    found += [("P2 0.5, end marks last", 5, None), ("P2 0.5, left to right", 5, None)]
    return [{"rule": rule, "steps": steps, "seed": seed} for rule, steps, seed in found]


def answered(problems: Sequence[tasks.Problem], sampler: Sampler, seed: int | None) -> dict:
    """Answer problems, judge them, and sort what was given up by what it was.

    With a seed the problems come in turns of `TURN`, each with a generator of its own, so that a part is a part.
    """
    model, tokenizer = load("llada-mini")
    prompts = [layout.encode_prompt(tokenizer, p.question) for p in problems]
    order = list(range(len(prompts)))
    if seed is None:
        order.sort(key=lambda i: (len(prompts[i]), i))
    right, nfe, kinds = [False] * len(prompts), [0] * len(prompts), dict.fromkeys(KINDS, 0)
    touched, ended = ([False] * len(prompts) for _ in range(2))
    batch = source.BATCH if seed is None else TURN
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        generator = None if seed is None else torch.Generator().manual_seed(1000 * seed + start)
        out = sampling.sample(model, [prompts[i] for i in rows], sampler=sampler, generator=generator)
        truth = torch.full_like(out.ids, tokenizer.eos_token_id)
        for row, i in enumerate(rows):
            ids = layout.encode_solution(tokenizer, problems[i])
            truth[row, out.prompt_length : out.prompt_length + len(ids)] = torch.tensor(ids)
            answer = layout.decode_answer(tokenizer, out.ids[row, -ANSWER_LENGTH:].tolist())
            right[i], nfe[i] = tasks.verify(problems[i].question, answer).correct, out.trace.nfe[row]
        found = given_up(out, truth, tokenizer.eos_token_id)
        for kind, of_row in found.items():
            kinds[kind] += int(of_row.sum())
        for row, i in enumerate(rows):
            touched[i], ended[i] = bool(found["wrong"][row]), bool(found["early"][row])
    means = {name: round(n / len(problems), 3) for name, n in kinds.items()}
    flags = {"correct": right, "touched": touched, "ended": ended}
    means["nfe"] = round(sum(nfe) / len(nfe), 3)
    return {name: evaluate.digits(flag) for name, flag in flags.items()} | means


def given_up(out, truth: Tensor, eos_id: int) -> dict[str, Tensor]:
    """Count the tokens of each row that were masked again, by what they were, (B,) each; `truth` (B, L) is what belongs
    there."""
    x, found = out.trace.start.clone(), {kind: torch.zeros(len(truth), dtype=torch.long) for kind in KINDS}
    for step in out.trace.steps:
        at = step.edited[:, 0], step.edited[:, 1]
        fits, end = x[at] == truth[at], x[at] == eos_id
        kinds = {"end": end & fits, "early": end & ~fits, "right": ~end & fits, "wrong": ~end & ~fits}
        for kind, mine in kinds.items():
            found[kind] += torch.bincount(at[0][mine], minlength=len(truth))
        x[step.at[:, 0], step.at[:, 1]] = step.tokens
        x[at] = step.edited_to
    return found


def run(rule: str, steps: int, seed: int | None, size: int | None = None) -> dict:
    """Answer the test problems under one rule."""
    return answered(tasks.load_split("test")[:size], Sampler(**{"commit": Fixed(steps)} | RULES[rule]), seed)


def with_controls(rows: Sequence[dict]) -> list[dict]:
    """Put the plain schedules of notebook 01 beside the rows, as rules of their own."""
    plain = [row for row in store.read("01_sampling") if row["method"] in PLAIN or row["method"] == "threshold"]
    named = []
    for row in plain:
        number = row["sampler"].split("=")[1].split(",")[0].rstrip(")")
        rule, steps = (f"threshold {number}", 0) if row["method"] == "threshold" else (row["method"], int(number))
        named.append({"rule": rule, "steps": steps, "seed": None, "correct": row["correct"], "nfe": row["nfe"]})
    return [*rows, *(row for row in named if not any(all(r[k] == row[k] for k in ("rule", "steps")) for r in rows))]


def gains(rows: Sequence[dict]) -> dict[str, Difference]:
    """Compare each rule with the plain schedules of as many forwards, and with the threshold rule, in points."""
    every, found = with_controls(rows), {}
    for row in rows:
        name = f"{row['rule']}, {row['steps']}"
        for other in (*PLAIN, "threshold 0.9"):
            steps = 0 if other.startswith("threshold") else row["steps"]
            a, b = {"rule": row["rule"], "steps": row["steps"]}, {"rule": other, "steps": steps}
            if row["rule"] != other and any(r["rule"] == other and r["steps"] == steps for r in every):
                found[f"{name} - {other}"] = of_rows(every, a, b, column="correct").times(100)
    for a, b in (("P2 0.25", "P2 0.5"), ("P2 1.0", "P2 0.5"), ("P2 0.5", "ReMDM, random")):
        pair = {"rule": a, "steps": 5}, {"rule": b, "steps": 5}
        found[f"{a} - {b}, 5"] = of_rows(every, *pair, column="correct").times(100)
    return found


def spent(rows: Sequence[dict], rule: str, steps: int) -> dict[str, float]:
    """Mean number of tokens given up a problem, by kind, and the percentage of wrong ones among those of the text and
    of early ones among the end marks."""
    mine = select(rows, rule=rule, steps=steps)
    found = {kind: sum(row[kind] for row in mine) / len(mine) for kind in KINDS}
    shares = {"percent wrong": ("wrong", "right"), "percent early": ("early", "end")}
    return found | {name: 100 * found[bad] / (found[bad] + found[good] or 1.0) for name, (bad, good) in shares.items()}


def gained(rows: Sequence[dict], rule: str, steps: int, seed: int | None = None) -> dict[str, evaluate.Proportion]:
    """Of the problems that a rule answers and the plain schedule does not, count those in which it gave up a `wrong`
    token of the text, and those in which it gave up one or an `early` end mark: where it did neither, the gain is no
    repair."""
    (plain,) = select(with_controls([]), rule="probability", steps=steps)
    (mine,) = select(rows, rule=rule, steps=steps, seed=seed)
    marks = [
        (t, e) for a, b, t, e in zip(mine["correct"], plain["correct"], mine["touched"], mine["ended"], strict=True)
        if a == "1" and b == "0"
    ]  # fmt: skip
    wrong = evaluate.Proportion(sum(t == "1" for t, _ in marks), len(marks))
    return {"wrong": wrong, "wrong or early": evaluate.Proportion(sum("1" in mark for mark in marks), len(marks))}


def lines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for row in rows:
        name, mine = f"{row['rule']}, {row['steps']}", select(rows, rule=row["rule"], steps=row["steps"])
        found |= {f"{name}, {kind}": value for kind, value in spent(rows, row["rule"], row["steps"]).items()}
        if row["steps"] in (5, 10) and "," not in row["rule"].removeprefix("ReMDM,"):
            shares = [gained(rows, row["rule"], row["steps"], r["seed"]) for r in mine]
            for kind in shares[0]:
                found[f"{name}, gained by giving up {kind}"] = 100 * sum(s[kind].value for s in shares) / len(mine)
        found[f"{name}, exact"] = 100 * sum(r["correct"].count("1") / len(r["correct"]) for r in mine) / len(mine)
    return found | headlines("exchange", gains(rows))


EXCHANGED = Table(
    "13_exchanged",
    settings,
    run,
    live=({"rule": "P2 0.5", "steps": 5, "seed": None},),
    size=12,
    tolerance=TOLERANCE,
    headlines=lines,
)


def drawn(rule: str, steps: int, seed: int, size: int | None = None) -> dict:
    """Answer the test problems with tokens drawn at temperature 1, in random order."""
    sampler = Sampler("random", Fixed(steps), temperature=1.0, edit=DRAWN_RULES[rule])
    return answered(tasks.load_split("test")[: size or DRAWN_PROBLEMS], sampler, seed)


def drawn_gains(rows: Sequence[dict]) -> dict[str, Difference]:
    """Compare each rule with plain draws of as many forwards, in points."""
    pairs = {(row["rule"], row["steps"]) for row in rows if row["rule"] != "plain"}
    return {
        f"{rule}, {steps}": of_rows(
            rows, {"rule": rule, "steps": steps}, {"rule": "plain", "steps": steps}, column="correct"
        ).times(100)
        for rule, steps in sorted(pairs)
    }


DRAWN = Table(
    "13_drawn",
    lambda: [
        {"rule": rule, "steps": steps, "seed": seed}
        for rule, steps in (("plain", 5), ("ReMDM 0.5", 5))
        for seed in SEEDS
    ],
    drawn,
    live=({"rule": "ReMDM 0.5", "steps": 5, "seed": 0},),
    size=TURN,
    tolerance=TOLERANCE,
    headlines=lambda rows: headlines("drawn", drawn_gains(rows)),
)
