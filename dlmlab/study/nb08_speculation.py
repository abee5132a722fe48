"""Notebook 08: lossless speculation, how deep it may guess, why it is refused, and what a rule without a promise takes.

The number of forwards for every depth follows from one run of the base rule: what would be drafted is known at each of
its states (`replay`). Depth `DEPTH` is run for real beside it, as a batch of drafted states, and has to agree.
Forwards and rows do not depend on the machine, as far as its ties fall alike; time is not measured here.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from dlmlab.decode.commit import NEG_INF, SCORES, Fixed, Threshold, order_of
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.decode.trace import Sample
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure.difference import between
from dlmlab.measure.evaluate import Proportion, digits
from dlmlab.measure.table import Table
from dlmlab.study.stand_in import load
from dlmlab.task import tasks
from dlmlab.task.layout import decode_answer, encode_prompt

DEPTH, DEPTHS = 8, (1, 2, 4, 8, 16, ANSWER_LENGTH)
BASES = {"probability": "probability", "rounded": "probability, one decimal", "left_to_right": "left to right"}
SEEDS = (0, 1, 2)  # of the number that is hidden
PROBLEMS = {"test": 32, "five equations": 12} | {f"hidden number {seed}": 12 for seed in SEEDS}  # of the test split
ONE_BY_ONE = "one by one"
OTHERS = {  # no promise: what a rule or a schedule takes on the same problems
    "threshold 0.9": Sampler(commit=Threshold(0.9)),
    "threshold 0.5": Sampler(commit=Threshold(0.5)),
    "left to right, stops": Sampler(score="left_to_right", commit=Fixed(6), stop_at_eos=True),
}


@cache
def prompts(problems: str, size: int | None = None) -> list[list[int]]:
    """Encode the questions of a set. Where a number is hidden, a mask stands for it, and the model fills that too."""
    _, tokenizer = load("llada-mini")
    found = [encode_prompt(tokenizer, p.question) for p in chosen(problems, size)]
    if problems.startswith("hidden"):
        generator = torch.Generator().manual_seed(int(problems.split()[-1]))
        for ids in found:
            numbers = [i for i, token in enumerate(tokenizer.convert_ids_to_tokens(ids)) if token.isdigit()]
            ids[numbers[int(torch.randint(len(numbers), (), generator=generator))]] = tokenizer.mask_token_id
    return found


def chosen(problems: str, size: int | None = None) -> list[tasks.Problem]:
    """List the problems of a set, the first ones of the test split."""
    steps = {5} if problems == "five equations" else {1, 2, 3, 4, 5}
    return [p for p in tasks.load_split("test") if p.steps in steps][: size or PROBLEMS[problems]]


class Recorder:
    """Pass on to a model and keep, for every forward, the ids that were read, and token and score everywhere."""

    def __init__(self, model, score: str):
        self.model, self.score, self.seen = model, SCORES[score], []

    def __call__(self, ids: Tensor, valid: Tensor | None) -> Tensor:
        logits = self.model(ids, valid).logits
        allowed = logits.float().index_fill(-1, torch.tensor(self.model.config.mask_token_id), NEG_INF)
        allowed[..., self.model.config.vocab_size :] = NEG_INF
        x0 = allowed.argmax(-1)  # (B, L)
        self.seen.append((ids.clone(), x0, self.score(allowed.softmax(-1), x0, None)))
        return logits


def batches(rows: Sequence[Sequence[int]], most: int = 16) -> list[list[int]]:
    """Group rows of about one length, as indices."""
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))
    return [order[i : i + most] for i in range(0, len(order), most)]


def flat(out: Sample, row: int) -> list[tuple[int, int]]:
    """List the commits of a row in their order: column and token."""
    found = []
    for step in out.trace.steps:
        mine = step.at[:, 0] == row
        found += zip(step.at[mine, 1].tolist(), step.tokens[mine].tolist(), strict=True)
    return found


def replay(drafts: Sequence[list[tuple[int, int]]], commits: list[tuple[int, int]], depth: int) -> dict[str, int]:
    """Count what speculation of one row costs, from a run of its base rule.

    `drafts[t]`: the masked columns before commit t with their tokens, in the rule's order; `commits` (G,). Gives
    forwards, rows read, and refusals by what was wrong: the order (the guess is in the final text) or the token.
    """
    final, done, draft = dict(commits), 0, []
    cost = {"nfe": 0, "rows": 0, "order": 0, "token": 0}
    while done < len(commits):
        n = min(depth, max(len(draft), 1))  # a full text is not read
        count = 1
        while count < n and draft[count - 1] == commits[done + count - 1]:
            count += 1
        if count < n:
            column, token = draft[count - 1]
            cost["order" if final[column] == token else "token"] += 1
        cost["nfe"], cost["rows"], done = cost["nfe"] + 1, cost["rows"] + n, done + count
        draft = [guess for guess in drafts[done - 1] if guess[0] != commits[done - 1][0]]
    return cost


@cache
def base(problems: str, score: str, size: int | None = None) -> list[dict]:
    """Decode a set one token per forward; gives for each problem its commits and what would have been drafted."""
    model, _ = load("llada-mini")
    rows, found = prompts(problems, size), {}
    for group in batches(rows):
        recorder = Recorder(model, score)
        special = {"mask_id": model.config.mask_token_id, "eos_id": model.config.eos_token_id}
        out = sample(recorder, [rows[i] for i in group], sampler=Sampler(score=score), **special)
        for row, i in enumerate(group):
            drafts = []
            for ids, x0, s in recorder.seen:
                masked = ids[row] == special["mask_id"]
                order = order_of(s[row][None], masked[None])[0][0, : int(masked.sum())]
                drafts.append(list(zip(order.tolist(), x0[row, order].tolist(), strict=True)))
            found[i] = {"commits": flat(out, row), "drafts": drafts, "text": written(rows[i], out, row)}
    return [found[i] for i in range(len(rows))]


def written(prompt: Sequence[int], out: Sample, row: int) -> list[int]:
    """Give what a run wrote: the prompt with its holes filled, and the answer up to its end mark."""
    return out.ids[row, out.prompt_length - len(prompt) : out.prompt_length].tolist() + out.answers[row]


def run(problems: str, way: str, size: int | None = None) -> dict:
    """Decode a set one way; `same`: one digit a problem, is the text that of one token per forward by probability?"""
    model, tokenizer = load("llada-mini")
    rows, reference = prompts(problems, size), base(problems, "probability", size)
    score = next((score for score, name in BASES.items() if way == f"{ONE_BY_ONE}, {name}"), None)
    sampler = OTHERS.get(way) or Sampler(score=score, speculate=DEPTH)
    texts, orders, nfe, through, answers = {}, {}, 0, 0, {}
    for group in batches(rows):
        out = sample(model, [rows[i] for i in group], sampler=sampler)
        nfe, through = nfe + sum(out.trace.nfe), through + sum(out.trace.rows_through)
        for row, i in enumerate(group):
            texts[i], orders[i] = written(rows[i], out, row), flat(out, row)
            answers[i] = decode_answer(tokenizer, out.answers[row])
    n = len(rows)
    found = {"same": digits(texts[i] == reference[i]["text"] for i in range(n))}
    if not problems.startswith("hidden"):
        asked = chosen(problems, size)
        found["correct"] = digits(tasks.verify(asked[i].question, answers[i]).correct for i in range(n))
    if score is None:
        return found | {"nfe": nfe / n, "rows": through / n}
    one = base(problems, score, size)
    found |= {"kept": digits(texts[i] == one[i]["text"] for i in range(n))}
    found |= {"ordered": digits(orders[i] == one[i]["commits"] for i in range(n))}
    found |= {"nfe": nfe / n, "rows": through / n}
    for depth in DEPTHS:
        costs = [replay(row["drafts"], row["commits"], depth) for row in one]
        found |= {f"{what} {depth}": sum(cost[what] for cost in costs) / n for what in costs[0]}
    return found


def settings() -> list[dict]:
    """List the base rules and the others on the plain set, the first base rule and the others where texts differ."""
    found = [{"problems": "test", "way": f"{ONE_BY_ONE}, {name}"} for name in BASES.values()]
    found += [{"problems": "test", "way": way} for way in OTHERS]
    for problems in list(PROBLEMS)[1:]:
        ways = [f"{ONE_BY_ONE}, {BASES['probability']}", *OTHERS]
        found += [{"problems": problems, "way": way} for way in ways]
    return found


def differing(rows: Sequence[dict], problems: str, way: str) -> Proportion:
    """Count texts that differ from one token per forward by probability, over all sets whose name begins so."""
    mine = "".join(r["same"] for r in rows if r["problems"].startswith(problems) and r["way"] == way)
    return Proportion(mine.count("0"), len(mine))


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Give forwards and rows a token by base rule and depth, and differing texts by set and way."""
    found: dict[str, float | str] = {"depth": DEPTH, "problems": PROBLEMS["test"]}
    for row in rows:
        if row["problems"] == "test":
            name = row["way"].removeprefix(f"{ONE_BY_ONE}, ")
            found |= {f"{name}, nfe": row["nfe"], f"{name}, rows": row["rows"] / ANSWER_LENGTH}
            found |= {f"{name}, {key}": value for key, value in row.items() if key.startswith(("nfe ", "rows "))}
            wrong = [row.get(f"{what} {ANSWER_LENGTH}", 0.0) for what in ("order", "token")]
            found |= {f"{name}, order": wrong[0] / sum(wrong)} if sum(wrong) else {}
            found[f"{name}, same"] = row["same"].count("1")
    for problems in ("test", "five equations", "hidden"):
        for way in [f"{ONE_BY_ONE}, {BASES['probability']}", *OTHERS]:
            share = differing(rows, problems, way)
            name = f"{problems}, {way.removeprefix(f'{ONE_BY_ONE}, ')}"
            found |= {f"{name}, differ": share.hits, f"{name}, of": share.n, f"{name}, share": share.value}
    plain = {row["way"]: row for row in rows if row["problems"] == "test"}
    gain = between(plain["left to right, stops"]["correct"], plain["one by one, probability"]["correct"])
    return found | {"stops against one by one, word": gain.word}


SPECULATION = Table(
    "08_speculation",
    settings,
    run,
    live=(
        {"problems": "test", "way": f"{ONE_BY_ONE}, {BASES['rounded']}"},
        {"problems": "hidden number 0", "way": "threshold 0.5"},
    ),
    size=4,
    tolerance={"nfe": (1.0, 0.5), "rows": (4.0, 0.3)}  # means over other problems
    | {f"{what} {depth}": (1.5, 0.5) for depth in DEPTHS for what in ("nfe", "order", "token")}
    | {f"rows {depth}": (4.0, 0.3) for depth in DEPTHS},
    flips=0.25,
    headlines=headlines,
)
