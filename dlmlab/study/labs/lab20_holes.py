"""Lab 20: one number of a test question is hidden. What may stand there, what does LLaDA-mini say, and does it find the
one number that fits a given answer?

Hidden is a number that matters: with the answer given, not every number is allowed (a number told about somebody else
is). Where a question has several, the seed chooses.

`how`
* `asked`: the answer is hidden, too, one forward. Probability on the numbers that are allowed, on those allowed in
  another problem, and on these by the mean guess of all other problems (`prior`); `even`: a guess that knows only that
  it is a number. `correct`: the most likely number is the one that the answer, which was not shown, needs.
* `place given`: one forward, too; the answer's number is hidden, and its mark and the end marks stand at their places.
* the rest: the answer's number is given at its place, its equations are hidden and written together with the hole.
  `correct`: the hole holds a number from which the given answer follows. `clean`: the equations are right for it, too.
"""

import random
from collections.abc import Sequence
from functools import cache

import torch

from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure.difference import Difference, headlines, of_rows
from dlmlab.measure.evaluate import digits
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.study.judging import SEEDS
from dlmlab.study.labs import lab20_answers as answers
from dlmlab.task import constraints, tasks

PROBLEMS = 200  # the first of the test split, with one hidden number each; three choices of it
HOW = {  # from left to right the hole is the first mask, so that order fills it as "hole first" does
    "threshold": Sampler(commit=Threshold(0.9)),
    "hole first": Sampler(commit=Threshold(0.9)),
    "hole last": Sampler(commit=answers.HoleLast(Threshold(0.9))),
}
ONE = ("asked", "place given")  # one forward, the answer's number hidden
MASSES = ("allowed", "of another", "prior", "even")


@cache
def hidden(seed: int, size: int = PROBLEMS) -> list[tuple[tasks.Problem, str]]:
    """Hide a number that matters in each of the first test problems."""
    rng, found = random.Random(seed), []
    for problem in tasks.load_split("test")[:PROBLEMS]:
        some = constraints.holes(problem.question)
        rng.shuffle(some)  # before anything is looked at, so that a shorter list begins alike
        found += [(problem, some)]
    return [(problem, next(q for q in some if matters(q, problem.answer))) for problem, some in found[:size]]


def matters(question: str, answer: int) -> bool:
    """Whether the hole decides anything: a number of a sentence about somebody else does not."""
    return len(constraints.fills_by_trying(question, answer)) <= tasks.MAX_NUMBER


@cache
def allowed(seed: int, size: int, given: bool) -> list[set[int]]:
    """Ask the solver what the holes may hold, with the answer given or not."""
    return [constraints.fills(q, p.answer if given else None) for p, q in hidden(seed, size)]


def number_ids() -> list[int]:
    """Give the ids of the tokens 0 to 99."""
    tokenizer = answers.mini().tokenizer
    return [tokenizer.convert_tokens_to_ids(str(n)) for n in range(tasks.MAX_NUMBER + 1)]


def with_mask(question: str) -> str:
    """Put a mask where the hole is."""
    return question.replace(tasks.HOLE, answers.mini().tokenizer.mask_token)


def guesses(questions: Sequence[str]) -> torch.Tensor:
    """Give what LLaDA-mini says of holes, answers hidden: probabilities of the numbers, (N, 100), the rest left out."""
    mask = answers.mini().tokenizer.mask_token_id
    rows = [answers.row(with_mask(q), "", range(ANSWER_LENGTH)) for q in questions]
    found = answers.read(rows)
    return torch.stack([p[ids.index(mask), number_ids()] for p, ids in zip(found, rows, strict=True)])


def asked(seed: int, size: int) -> dict:
    """Score the guesses of one forward by the allowed sets."""
    sets, fits = allowed(seed, size, False), allowed(seed, size, True)
    p = guesses([q for _, q in hidden(seed, size)])  # (N, 100)
    table = torch.tensor([[float(n in some) for n in range(p.shape[1])] for some in sets])
    others = (p.sum(0) - p) / (len(p) - 1)
    other = torch.tensor([(i + len(p) // 2) % len(p) for i in range(len(p))])
    found = {
        "allowed": (p * table).sum(1),
        "of another": (p * table[other]).sum(1),
        "prior": (others * table).sum(1),
        "even": table.mean(1),
        "numbers": p.sum(1),
    }
    trying = [constraints.fills_by_trying(q) for _, q in hidden(seed, size)]
    return {name: [round(v, 4) for v in values.tolist()] for name, values in found.items()} | {
        "size": [len(some) for some in sets],
        "fits": [len(some) for some in fits],
        "as tried": digits(a == b for a, b in zip(sets, trying, strict=True)),
        "correct": digits(int(i) in some for i, some in zip(p.argmax(1), fits, strict=True)),
    }


def filled(how: str, seed: int, size: int) -> dict:
    """Let LLaDA-mini write hole and equations for a given answer."""
    mask, numbers = answers.mini().tokenizer.mask_token_id, number_ids()
    rows = []
    for problem, question in hidden(seed, size):
        words = problem.solution.split()
        rows.append(answers.row(with_mask(question), problem.solution, range(words.index("####"))))
    at, more = [ids.index(mask) for ids in rows], 0
    if how == "hole first":
        for ids, i, p in zip(rows, at, answers.read(rows), strict=True):
            ids[i] = numbers[int(p[i, numbers].argmax())]
        more = 1
    found = {"correct": [], "clean": [], "nfe": []}
    fits = allowed(seed, size, True)
    for (ids, nfe), i, some, (problem, question) in zip(
        answers.write(rows, HOW[how]), at, fits, hidden(seed, size), strict=True
    ):
        value = numbers.index(ids[i]) if ids[i] in numbers else None
        good = value in some
        verdict = tasks.verify(question.replace(tasks.HOLE, str(value)), answers.text_of(ids))
        found["correct"].append(good)
        found["clean"].append(good and verdict.clean and verdict.answer == problem.answer)
        found["nfe"].append(nfe + more)
    return {"correct": digits(found["correct"]), "clean": digits(found["clean"]), "nfe": found["nfe"]}


def placed(seed: int, size: int) -> dict:
    """Score the likeliest numbers of one forward, the answer's place given and its number hidden."""
    mask, numbers, rows = answers.mini().tokenizer.mask_token_id, number_ids(), []
    for problem, question in hidden(seed, size):
        words = problem.solution.split()
        rows.append(answers.row(with_mask(question), problem.solution, [i for i, w in enumerate(words) if w != "####"]))
    best = [int(p[ids.index(mask), numbers].argmax()) for ids, p in zip(rows, answers.read(rows), strict=True)]
    return {"correct": digits(i in some for i, some in zip(best, allowed(seed, size, True), strict=True))}


def run(how: str, seed: int, size: int | None = None) -> dict:
    """Measure one row; of fewer problems, what depends on all of them is left out."""
    if how in HOW:
        found = filled(how, seed, size or PROBLEMS)
    else:
        found = (asked if how == "asked" else placed)(seed, size or PROBLEMS)
    for column in ("of another", "prior", "nfe") if size else ():
        found.pop(column, None)
    return found


def settings() -> list[dict]:
    """List the rows: how, for each choice of the hidden number."""
    return [{"how": how, "seed": seed} for how in (*ONE, *HOW) for seed in SEEDS]


# ------------------------------------------------------------------------------------------------ what is read off


def mean(rows: Sequence[dict], how: str, column: str) -> float:
    """Mean of a column over problems and seeds."""
    values = [float(value) for row in select(rows, how=how) for value in row[column]]
    return sum(values) / len(values)


def masses(rows: Sequence[dict]) -> dict[str, Difference]:
    """Compare the probability on the allowed numbers with its controls, in points."""
    mine = select(rows, how="asked")
    long = [{"what": what, "seed": row["seed"], "mass": row[what]} for row in mine for what in MASSES]
    return {
        what: of_rows(long, {"what": "allowed"}, {"what": what}, column="mass").times(100)
        for what in MASSES
        if what != "allowed"
    }


def orders(rows: Sequence[dict], column: str = "correct") -> dict[str, Difference]:
    """Compare the orders with the threshold decoder, in points."""
    names = [how for how in HOW if how != "threshold"]
    return {how: of_rows(rows, {"how": how}, {"how": "threshold"}, column=column).times(100) for how in names}


def told(rows: Sequence[dict]) -> dict[str, Difference]:
    """Compare what the hole's number is after one forward, the more of the answer is given, in points."""
    pairs = {
        "place less nothing": ("place given", "asked"),
        "number less place": ("hole first", "place given"),
        "number less nothing": ("hole first", "asked"),
    }
    return {
        name: of_rows(rows, {"how": more}, {"how": less}, column="correct").times(100)
        for name, (more, less) in pairs.items()
    }


def headline(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {f"mass, {what}": mean(rows, "asked", what) for what in (*MASSES, "numbers")}
    found |= headlines("mass less", masses(rows)) | headlines("order, points,", orders(rows))
    found |= headlines("order, clean,", orders(rows, "clean"))
    found |= headlines("told, points,", told(rows))
    for how in (*ONE, *HOW):
        found[f"{how}, correct"] = mean(rows, how, "correct")
        if how in HOW:
            found |= {f"{how}, clean": mean(rows, how, "clean"), f"{how}, forwards": mean(rows, how, "nfe")}
    mine = select(rows, how="asked")
    sizes = sorted(size for row in mine for size in row["size"])
    found["even draw"] = sum(1 / size for size in sizes) / len(sizes)
    found |= {"sets": len(sizes), "median size": sizes[len(sizes) // 2], "as tried": mean(rows, "asked", "as tried")}
    return found | {"one fits": sum(size == 1 for row in mine for size in row["fits"]) / len(sizes)}


TABLE = Table(
    "20_holes",
    settings,
    run,
    live=({"how": "asked", "seed": 0}, {"how": "hole last", "seed": 1}),
    size=24,
    tolerance={"allowed": (0.02, 0.02), "even": (0.001, 0.0), "numbers": (0.02, 0.0)},
    headlines=headline,
    missing=constraints.missing,
)
