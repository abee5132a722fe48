"""Lab 15: what an order costs: LLaDA-mini as a codec that writes masked places in any order, several a forward.

Parts of a test problem that are coded:
* `answer`: the solution and its end mark, given the question *and how long the answer is*: so many masks stand there.
* `window`: the whole window of forty places after the question, end marks and all: no length is given away.
* `row`: question and answer, with the lengths of both given and the marks between them known.

Costs are those of tables of 24 bits, exact to four digits. The bound (`nelbo`) is that of notebook 02, by mask count.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dlmlab.measure import codec
from dlmlab.measure.codec import Order
from dlmlab.measure.difference import Difference, between, of_rows
from dlmlab.measure.difference import headlines as named
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.objective import likelihood, noise
from dlmlab.task import layout, tasks

PROBLEMS = {"answer": 128, "row": 32, "window": 32}  # of the test split, by part; longer parts take more forwards
ROWS, DRAWS = 32, 16  # rows of a forward; masks of a text for the bound
ORDERS = {
    "left to right": Order("left"),
    "right to left": Order("right"),
    "confidence": Order("confidence"),
    "entropy": Order("entropy"),
    "random": Order("chance"),
    "left to right, 2": Order("left", 2),
    "left to right, 4": Order("left", 4),
    "left to right, 8": Order("left", 8),
    "all at once": Order("left", 10**6),
    "confidence, 2": Order("confidence", 2),
    "confidence, 4": Order("confidence", 4),
    "random, 4": Order("chance", 4),
    "threshold 0.5": Order("confidence", sure=0.5),
    "threshold 0.9": Order("confidence", sure=0.9),
    "threshold 0.99": Order("confidence", sure=0.99),
    "threshold 0.999": Order("confidence", sure=0.999),
    "nelbo": None,
}
ONE = ("left to right", "right to left", "confidence", "entropy", "random")  # one place a forward
ASKED = {
    "answer": (*ORDERS, "llama-mini"),
    "row": ("left to right", "confidence", "random", "threshold 0.9", "all at once", "nelbo", "llama-mini"),
    "window": ("left to right", "threshold 0.9", "all at once", "llama-mini"),
}
SEEDS = {"answer": range(5), "row": range(3)}  # of a random order
TWIN = "llama-mini"


def rows_of(part: str, problems: Sequence[tasks.Problem]) -> tuple[Tensor, Tensor, Tensor]:
    """Lay out problems for LLaDA-mini: ids, which of them are text, which are coded, (B, L) each."""
    tokenizer = load("llada-mini").tokenizer
    rows = layout.encode_rows(tokenizer, problems, side="right")
    if part == "window":
        return rows.x0, rows.valid, rows.answer
    answer = likelihood.up_to_end(rows.x0, rows.answer, tokenizer.eos_token_id)
    valid = rows.valid & (answer | ~rows.answer)
    x0, valid, answer, question = (t[:, : int(valid.sum(1).max())] for t in (rows.x0, valid, answer, rows.question))
    return x0, valid, answer | question if part == "row" else answer


def run(part: str, order: str, seed: int | None, size: int | None = None) -> dict:
    """Measure the cost of every problem, in bits, and the forwards it took; a row's question apart from its answer."""
    problems = tasks.load_split("test")[: size or PROBLEMS[part]]
    if order == TWIN:
        return _twin(part, problems)
    model, tokenizer = load("llada-mini")
    x0, valid, coded = rows_of(part, tasks.load_split("test")[: PROBLEMS[part]])
    few = slice(len(problems))
    if order == "nelbo":  # masks of all problems are drawn, so that a slice has the same ones
        masked, weight = noise.count_masks(coded, draws=DRAWS, generator=torch.Generator().manual_seed(seed))
        losses = noise.masked_losses(model, x0[few], masked[few], valid=valid[few], batch_size=ROWS)
        nats = (weight[few] * losses.sum(-1)).mean(1)
        return {"bits": [round(v, 4) for v in (nats / math.log(2)).tolist()]}
    rule = ORDERS[order]
    if seed is not None:
        rule = Order(rule.by, rule.count, seed=seed)
    x = torch.where(coded, tokenizer.mask_token_id, x0)
    _, forwards = codec.any_order(
        model, x[few], valid[few], meter := codec.Meter(x0.tolist()), rule, bits=24, batch=ROWS
    )
    found: dict = {"bits": [round(sum(meter.bits[r].values()), 4) for r in range(len(problems))], "forwards": forwards}
    if part == "row":
        answer = rows_of("answer", tasks.load_split("test")[: PROBLEMS[part]])[2]
        found["of answer"] = [
            round(sum(v for i, v in meter.bits[r].items() if answer[r, i]), 4) for r in range(len(problems))
        ]
    return found


def _twin(part: str, problems: Sequence[tasks.Problem]) -> dict:
    model, tokenizer = load(TWIN)
    texts, mark = layout.encode_texts(tokenizer, problems), tokenizer.convert_tokens_to_ids("<|answer|>")
    codec.at_once(model, texts, meter := codec.Meter(texts), bits=24, batch=ROWS)
    answer, whole = [], []
    for r, text in enumerate(texts):
        answer.append(round(sum(v for i, v in meter.bits[r].items() if i > text.index(mark)), 4))
        whole.append(round(sum(meter.bits[r].values()), 4))
    return {"bits": whole, "of answer": answer} if part == "row" else {"bits": answer}


def settings() -> list[dict]:
    """List parts, orders and seeds: all orders for answers, some for the rest."""
    keys = []
    for part, orders in ASKED.items():
        for order in orders:
            chance = order.startswith("random") or order == "nelbo"
            seeds = (None,) if not chance else SEEDS[part] if order == "random" else (0,)
            keys += [{"part": part, "order": order, "seed": seed} for seed in seeds]
    return keys


# ------------------------------------------------------------------------------------------------ what is read off


def tokens(part: str) -> int:
    """Count the tokens that a part has over all problems."""
    return int(rows_of(part, tasks.load_split("test")[: PROBLEMS[part]])[2].sum())


def mean(rows: Sequence[dict], part: str, order: str, column: str = "bits") -> float:
    """Mean over problems and seeds, a problem."""
    mine = [value for row in select(rows, part=part, order=order) for value in row[column]]
    return sum(mine) / len(mine)


def more(rows: Sequence[dict], part: str, order: str, other: str, column: str = "bits") -> Difference:
    """Compare two orders in bits a problem, over problems and seeds."""
    mine = [row if row["order"] != "nelbo" else row | {"seed": None} for row in select(rows, part=part)]
    return of_rows(mine, {"order": order}, {"order": other}, column=column)


def window_less_answer(rows: Sequence[dict], order: str = "left to right") -> Difference:
    """Compare the whole window with the answer whose length is given, on the problems that both have."""
    window, answer = (select(rows, part=part, order=order)[0]["bits"] for part in ("window", "answer"))
    return between(window, answer[: len(window)])


def length_bits(problems: Sequence[tasks.Problem]) -> tuple[float, float]:
    """Say what the length of an answer costs by itself, in bits a problem: from a histogram that both sides have, made
    of these very answers (so too cheap), and as a number below 40."""
    coded = rows_of("answer", problems)[2]
    share = coded.sum(1).bincount().double() / len(problems)
    return float(torch.special.entr(share).sum() / math.log(2)), math.log2(layout.ANSWER_LENGTH)


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for row in rows:
        found[f"{row['part']}, {row['order']}"] = mean(rows, row["part"], row["order"])
        if "forwards" in row:
            found[f"forwards, {row['part']}, {row['order']}"] = mean(rows, row["part"], row["order"], "forwards")
    for part, orders in (("answer", (*ONE[:4], "nelbo")), ("row", ("left to right", "confidence", "nelbo"))):
        against = {order: more(rows, part, order, "random") for order in orders}
        found |= named(f"against random, {part},", against)
    answers = {order: more(rows, "row", order, "random", "of answer") for order in ("left to right", "confidence")}
    found |= named("against random, answer of a row,", answers)
    fast = ("left to right, 4", "left to right, 8", "confidence, 4", "all at once")
    found |= named("against threshold 0.9,", {order: more(rows, "answer", order, "threshold 0.9") for order in fast})
    found |= named("threshold against left,", {"answer": more(rows, "answer", "threshold 0.9", "left to right")})
    for part, some in (("answer", ("confidence", "threshold 0.99", TWIN)), ("row", ("confidence", TWIN))):
        found |= named(f"less left, {part},", {o: more(rows, part, o, "left to right") for o in some})
    found |= named("window less answer,", {"left to right": window_less_answer(rows)})
    return found


TABLE = Table(
    "15_orders",
    settings,
    run,
    live=(
        {"part": "answer", "order": "threshold 0.9", "seed": None},
        {"part": "answer", "order": "random", "seed": 0},
        {"part": "row", "order": "confidence", "seed": None},
    ),
    size=4,
    tolerance={"bits": (0.3, 0.05), "of answer": (0.3, 0.05), "forwards": (2, 0.2)},
    headlines=headlines,
)
