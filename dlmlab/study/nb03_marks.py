"""Notebook 03: are the marks of LLaDA-mini and its twin read, or parked in?

`03_marks.json`: `nats` of the solutions of test problems, one a problem, while something is done to some positions at
every forward (`HOW`): their keys are hidden, their values emptied, replaced by the mean of the texts, or by those of
another text. Of the start mark, of the answer mark, and of controls drawn for each text, in three seeds: one `sign` of
the question, which like the marks belongs to the form of a text, and one `token` of the question, whatever it is.
`03_answers.json`: exact match of LLaDA-mini on the whole test split under the same changes of the marks.
"""

import torch

from dlmlab.attention import interventions
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.table import Table
from dlmlab.objective import likelihood, noise
from dlmlab.study.stand_in import load
from dlmlab.task import tasks
from dlmlab.task.layout import encode_rows

MODELS, PROBLEMS, DRAWS, SEEDS, BATCH = ("llada-mini", "llama-mini"), 128, 1, (0, 1, 2), 64
HOW = {
    "hide": interventions.WithoutKeys,
    "empty": interventions.EmptyValues,
    "mean": interventions.MeanValues,
    "swap": interventions.SwappedValues,
}
MARKS = ("start mark", "answer mark")
CONTROLS = {"sign": ("question sign",), "token": ("question word", "question number", "question sign")}


def changed(model: str, how: str, what: str, seed: int):
    """Return the model under a change; `nothing` is the model itself."""
    network, tokenizer = load(model)
    if how == "nothing":
        return network
    if what in MARKS:
        return HOW[how](network, interventions.OfKind(what, tokenizer))
    generator = torch.Generator().manual_seed(seed)
    return HOW[how](network, interventions.OneOf(CONTROLS[what], tokenizer, generator))


def nats(model: str, how: str, what: str, seed: int, size: int | None = None) -> dict:
    """Measure one row: what the solutions cost, one mean a problem."""
    network, tokenizer = changed(model, how, what, seed), load(model).tokenizer
    rows, few = encode_rows(tokenizer, tasks.load_split("test")[:PROBLEMS], side="right"), slice(size)
    x0 = rows.x0[few]
    if network.config.attention == "causal":
        counts = likelihood.up_to_end(x0, rows.answer[few], tokenizer.eos_token_id)
        found = (likelihood.next_token_nats(network, x0) * counts[:, 1:]).sum(1)
    else:
        masked, weight = noise.count_masks(rows.answer, draws=DRAWS, generator=torch.Generator().manual_seed(seed))
        losses = noise.masked_losses(network, x0, masked[few], valid=rows.valid[few], batch_size=BATCH)
        found = (weight[few] * losses.sum(-1)).mean(1)
    return {"nats": [round(value, 4) for value in found.tolist()]}


def answers(model: str, how: str, what: str, size: int | None = None) -> dict:
    """Answer the test problems, each token once it is nine tenths sure: one digit a problem."""
    _, tokenizer = load(model)
    found = evaluate.accuracy(
        changed(model, how, what, 0), tokenizer, tasks.load_split("test")[:size], sampler=Sampler(commit=Threshold(0.9))
    )
    return {"correct": found.correct, "nfe": round(found.mean_nfe, 3)}


def named() -> list[dict]:
    """List the changes of the marks, for both models."""
    lines = [("nothing", ""), *((how, what) for what in MARKS for how in HOW)]
    return [{"model": model, "how": how, "what": what} for model in MODELS for how, what in lines]


def settings() -> list[dict]:
    """List the rows of `03_marks`: every change under the masks of three seeds, with its controls."""
    three = [how for how in HOW if how != "swap"]
    drawn = [{"model": model, "how": how, "what": what} for model in MODELS for what in CONTROLS for how in three]
    return [key | {"seed": seed} for key in named() + drawn for seed in SEEDS]


def cost(rows: list[dict], model: str, how: str, what: str) -> Difference:
    """Say what a change costs a model, in nats an answer, over problems and seeds, under the same masks."""
    return of_rows(rows, {"model": model, "how": how, "what": what}, {"model": model, "how": "nothing"})


FEW = {"model": "llada-mini", "seed": 0}

NATS = Table(
    "03_marks",
    settings,
    nats,
    headlines=lambda rows: {
        f"{model} {how} {what}": cost(rows, model, how, what).mean
        for model in MODELS
        for how in HOW
        for what in (*MARKS, *(CONTROLS if how != "swap" else ()))
    },
    live=(
        FEW | {"how": "nothing", "what": ""},
        FEW | {"how": "hide", "what": "answer mark"},
        FEW | {"model": "llama-mini", "how": "empty", "what": "start mark"},
    ),
    size=8,
    tolerance={"nats": (0.02, 0.02)},
)

ANSWERS = Table(
    "03_answers",
    lambda: [key for key in named() if key["model"] == "llada-mini" and key["how"] in ("nothing", "hide", "mean")],
    answers,
    live=[{"model": "llada-mini", "how": "mean", "what": "answer mark"}],
    size=64,  # a mean is over a whole batch
    tolerance={"nfe": (1.0, 0.5)},  # a mean over the problems
    headlines=lambda rows: {
        f"{row['how']} {row['what']}".strip(): row["correct"].count("1") / len(row["correct"]) for row in rows
    },
)
