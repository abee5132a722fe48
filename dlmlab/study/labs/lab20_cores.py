"""Lab 20: a calculator finds a contradiction in an answer, and says where. What of the answer is written again?

`text`: what is judged. `one forward`, `threshold` and `left to right` (in eight forwards at most): answers that
LLaDA-mini wrote. The rest are true solutions with one error that was put in (the seed says where):
* `planted result`: the result of an equation is another number, everything after it is as it was.
* `planted and carried`: the same, and what builds on it is calculated with the wrong result.
* `planted operand`: an equation calculates with a wrong number, rightly, and what follows is carried: none is false.

`arm`: which parts of a text with a contradiction (`constraints.conflicts`, arithmetic alone) are masked and written
again. `named`: the parts that the cores name. `random`, `least sure`: as many parts, chosen by chance, or whose least
sure token is least sure (one forward to read them). `everything`: the whole window. `sources`: as `named`, by a solver
that knows the numbers of the question, too. `..., and after`: all from the first of these parts on. `..., as sources`:
where that solver finds a contradiction, as many parts as it names. `truth`: what `tasks.verify` calls wrong, which
knows the answer. `as it is`: nothing. Texts without a contradiction are left alone. `nfe`: forwards a problem, those of
the first writing included. `stands`: what stands in the named equation afterwards, where the true one is known.
"""

import itertools
import random
from collections.abc import Sequence
from functools import cache

from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, headlines, of_rows
from dlmlab.measure.evaluate import digits
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.study.judging import SEEDS
from dlmlab.study.labs import lab20_answers as answers
from dlmlab.task import constraints, tasks

PROBLEMS, FEWER = 500, 128  # of the test split: what was written, and what was planted
ORDERS = {
    "threshold 0.9": Sampler(commit=Threshold(0.9), stop_at_eos=True),
    "left to right in 8": Sampler(score="left_to_right", commit=Fixed(8), stop_at_eos=True),
}
WRITTEN = {
    "one forward": Sampler(commit=Fixed(1)),
    "threshold": Sampler(commit=Threshold(0.9), stop_at_eos=True),
    "left to right": ORDERS["left to right in 8"],
}
PLANTED = ("planted result", "planted and carried", "planted operand")
_AFTER = ", and after"
_USUAL = ("as it is", "named", f"named{_AFTER}", "random", "least sure", "everything")
_PLACES = (f"random{_AFTER}", f"least sure{_AFTER}")  # controls of the place where one begins
_TOLD = ("sources", f"sources{_AFTER}")
ARMS = {
    "one forward": (*_USUAL, *_PLACES, *_TOLD, "truth"),
    "threshold": (*_USUAL, *_TOLD, "truth"),
    "left to right": ("as it is", f"named{_AFTER}"),
    "planted result": _USUAL,
    "planted and carried": ("as it is", "named", f"named{_AFTER}", *_PLACES, "everything"),
    "planted operand": ("as it is", "named", *_TOLD, f"random, as sources{_AFTER}", "everything, as sources"),
}
ATTEMPTED, ATTEMPTS = ("one forward", "threshold"), ("named", f"named{_AFTER}", "everything")  # from left to right
WAYS = {  # to an answer, from nothing: what is written first, what of it again, and in which order
    "threshold": ("threshold", "as it is", "threshold 0.9"),
    "left to right": ("left to right", "as it is", "threshold 0.9"),
    "a draft, and from the named part on": ("one forward", f"named{_AFTER}", "threshold 0.9"),
    "the same, on from left to right": ("one forward", f"named{_AFTER}", "left to right in 8"),
    "threshold, and all from left to right": ("threshold", "everything", "left to right in 8"),
    "left to right, and from the named part on": ("left to right", f"named{_AFTER}", "threshold 0.9"),
}
STANDS = ("the wrong one", "the true one", "another")
Text = tuple[tasks.Problem, str, int]  # a problem, what was written, forwards for that


def plant(problem: tasks.Problem, kind: str, rng: random.Random) -> str:
    """Put one error of a kind into a true solution; see the head of this file."""
    if kind == "planted result":
        words = problem.solution.split()
        place = rng.choice([i + 1 for i, word in enumerate(words) if word == "="])
        words[place] = _other(words[place], rng)
        return " ".join(words)
    while True:  # until every number is one that can be written
        lines, at = [], rng.randrange(problem.steps)

        def calculate(a, op, b, lines=lines, at=at):
            here = len(lines) == at
            b = int(_other(b, rng)) if here and kind == "planted operand" else b
            fits = [c for c in range(tasks.MAX_NUMBER + 1) if all(constraints.conditions(a, op, b, c))]
            if not fits:
                raise tasks.QuestionError("no such number")
            c = int(_other(fits[0], rng)) if here and kind == "planted and carried" else fits[0]
            lines.append(f"{a} {op} {b} = {c} ;")
            return c

        try:
            answer = tasks.read(problem.question, calculate=calculate).answer
        except tasks.QuestionError:
            continue
        return " ".join([*lines, f"#### {answer}"])


def _other(number: int | str, rng: random.Random) -> str:
    return str(rng.choice([n for n in range(tasks.MAX_NUMBER + 1) if n != int(number)]))


@cache
def texts(text: str, seed: int | None, size: int) -> list[Text]:
    """Give what is judged: answers that LLaDA-mini wrote, or true ones with an error."""
    problems = tasks.load_split("test")[:size]
    if text in WRITTEN:
        model, tokenizer = answers.mini()
        found = evaluate.accuracy(model, tokenizer, problems, sampler=WRITTEN[text])
        return list(zip(problems, found.answers, found.nfe, strict=True))
    rng = random.Random(seed)
    return [(problem, plant(problem, text, rng), 0) for problem in problems]


@cache
def contradictions(text: str, seed: int | None, size: int, sources: bool) -> list[list[list[int]]]:
    """Ask the solver for the contradictions of each text: lists of parts."""
    return [
        constraints.Claims(answer, constraints.told(problem.question) if sources else None).conflicts()
        for problem, answer, _ in texts(text, seed, size)
    ]


def faults(problem: tasks.Problem, answer: str) -> list[int]:
    """Name the parts that `tasks.verify` calls wrong; it knows what the question asks for."""
    verdict, cut = tasks.verify(problem.question, answer), constraints.parts(answer)
    wrong = [i for i, e in enumerate(verdict.equations) if not (e.right and e.follows)]
    return wrong + [i for i, part in enumerate(cut) if i >= len(verdict.equations) and not verdict.correct]


def least_sure(rows: Sequence[tuple[list[int], list[constraints.Part]]]) -> list[list[float]]:
    """Read finished texts once; gives for each part the probability of its least sure token."""
    found = []
    for p, (ids, cut) in zip(answers.read([ids for ids, _ in rows]), rows, strict=True):
        present = p.gather(-1, p.new_tensor(ids).long()[:, None])[-ANSWER_LENGTH:, 0].tolist()
        found.append([min(present[part.start : part.end], default=0.0) for part in cut])
    return found


def chosen(arm: str, seed: int | None, some: Sequence[Text], named: Sequence[list[int]]) -> list[list[int]]:
    """Choose the parts that are written again, for texts with a contradiction and the parts that it names."""
    cuts = [constraints.parts(answer) for _, answer, _ in some]
    if arm == "truth":
        return [faults(problem, answer) for problem, answer, _ in some]
    if arm.endswith(_AFTER):
        first = chosen(arm.removesuffix(_AFTER), seed, some, named)
        return [list(range(min(parts), len(cut))) for cut, parts in zip(cuts, first, strict=True)]
    if arm.startswith("random"):
        rng = random.Random(seed)
        return [sorted(rng.sample(range(len(cut)), len(parts))) for cut, parts in zip(cuts, named, strict=True)]
    if arm.startswith("least sure"):
        doubts = least_sure([(answers.row(p.question, a), cut) for (p, a, _), cut in zip(some, cuts, strict=True)])
        ranked = [sorted(range(len(d)), key=d.__getitem__) for d in doubts]
        return [sorted(order[: len(parts)]) for order, parts in zip(ranked, named, strict=True)]
    return list(named)


def stands(problem: tasks.Problem, before: str, after: str, part: int) -> str:
    """Say which equation stands where a wrong one was: one of `STANDS`.

    >>> problem = tasks.load_split("test")[2]
    >>> wrong = problem.solution.replace("16 ;", "20 ;", 1)  # the third result
    >>> [stands(problem, wrong, text, 2) for text in (wrong, problem.solution, wrong.replace("20", "21", 1))]
    ['the wrong one', 'the true one', 'another']
    """
    place = constraints.parts(before)[part]
    new = " ".join(after.split()[place.start : place.end])
    known = {place.text: STANDS[0], constraints.parts(problem.solution)[part].text: STANDS[1]}
    return known.get(new, STANDS[2])


@cache
def fresh(questions: tuple[str, ...], order: str) -> list[tuple[str, int]]:
    """Write whole answers anew: what stood there before is of no account."""
    rows = [answers.row(question, "", range(ANSWER_LENGTH)) for question in questions]
    return [(answers.text_of(ids), nfe) for ids, nfe in answers.write(rows, ORDERS[order])]


def again(arm: str, some: Sequence[Text], parts: Sequence[list[int]], order: str) -> list[tuple[str, int]]:
    """Mask the parts of texts and write them again; gives the new texts, and what that took in forwards."""
    if arm.startswith("everything"):
        return fresh(tuple(problem.question for problem, _, _ in some), order)
    rows = []
    for (problem, answer, _), named in zip(some, parts, strict=True):
        cut = constraints.parts(answer)
        words = [i for k in named for i in range(cut[k].start, cut[k].end)]
        rows.append(answers.row(problem.question, answer, words))
    more = int(arm.startswith("least sure"))
    return [(answers.text_of(ids), nfe + more) for ids, nfe in answers.write(rows, ORDERS[order])]


def run(text: str, arm: str, seed: int | None, order: str, size: int | None = None) -> dict:
    """Judge the texts after some of their parts were written again: verdicts and forwards, problem by problem."""
    size, fixed = size or (PROBLEMS if text in WRITTEN else FEWER), None if text in WRITTEN else seed
    all_texts, found = texts(text, fixed, size), contradictions(text, fixed, size, "sources" in arm)
    at = [i for i, named in enumerate(found) if named and arm != "as it is"]
    some = [all_texts[i] for i in at]
    parts = chosen(arm, seed, some, [sorted({k for core in found[i] for k in core}) for i in at])
    now = [(answer, nfe) for _, answer, nfe in all_texts]
    for i, (new, nfe) in zip(at, again(arm, some, parts, order), strict=True):
        now[i] = (new, now[i][1] + nfe)
    verdicts = [tasks.verify(problem.question, new) for (problem, _, _), (new, _) in zip(all_texts, now, strict=True)]
    known = text in ("planted result", "planted and carried") and arm == "named"
    where = [(all_texts[i], now[i][0], named[0]) for i, named in zip(at, parts, strict=True)] if known else []
    more = {"stands": [stands(problem, old, new, part) for (problem, old, _), new, part in where]} if known else {}
    return more | {
        "correct": digits(v.correct for v in verdicts),
        "clean": digits(v.clean for v in verdicts),
        "nfe": [nfe for _, nfe in now],
        "found": digits(bool(named) for named in found),
        "masked": [len(named) for named in parts],
    }


def settings() -> list[dict]:
    """List the rows: arms on texts, seed by seed where there is chance, and attempts from left to right."""
    keys = [
        {"text": text, "arm": arm, "seed": None, "order": "left to right in 8"}
        for text in ATTEMPTED
        for arm in ATTEMPTS
    ]
    for text, arms in ARMS.items():
        for arm in arms:
            seeds = SEEDS if text in PLANTED or arm.startswith("random") else (None,)
            keys += [{"text": text, "arm": arm, "seed": seed, "order": "threshold 0.9"} for seed in seeds]
    return keys


# ------------------------------------------------------------------------------------------------ what is read off


def mean(rows: Sequence[dict], text: str, arm: str, column: str, order: str = "threshold 0.9") -> float:
    """Mean of a column over problems and seeds."""
    mine = select(rows, text=text, arm=arm, order=order)
    values = [float(value) for row in mine for value in row[column]]
    return sum(values) / len(values)


def seen(rows: Sequence[dict], text: str) -> float:
    """Share of the answers with a wrong final number in which arithmetic alone finds a contradiction."""
    (row,) = select(rows, text=text, arm="as it is")
    wrong = [found for found, right in zip(row["found"], row["correct"], strict=True) if right == "0"]
    return wrong.count("1") / len(wrong)


def mended(rows: Sequence[dict], text: str, arm: str) -> float:
    """Share of the answers with a wrong final number that have the right one after an arm."""
    (before,), (after,) = (select(rows, text=text, arm=a, order="threshold 0.9") for a in ("as it is", arm))
    wrong = [new for old, new in zip(before["correct"], after["correct"], strict=True) if old == "0"]
    return wrong.count("1") / len(wrong)


def share(rows: Sequence[dict], text: str, what: str) -> float:
    """Share of the named equations in whose place one of `STANDS` was written, over texts and seeds."""
    found = [now for row in select(rows, text=text, arm="named") for now in row["stands"]]
    return found.count(what) / len(found)


def ways(rows: Sequence[dict], name: str, other: str, column: str = "correct") -> Difference:
    """Compare two of `WAYS`, in points of right final numbers, or in forwards."""
    a, b = (dict(zip(("text", "arm", "order"), WAYS[n], strict=True)) for n in (name, other))
    return of_rows(rows, a, b, column=column).times(1 if column == "nfe" else 100)


def against(
    rows: Sequence[dict], text: str, arm: str, other: str, column: str = "clean", order: str = "threshold 0.9"
) -> Difference:
    """Compare two arms on one text, in points, or in forwards."""
    a, b = ({"text": text, "arm": name, "order": order} for name in (arm, other))
    return of_rows(rows, a, b, column=column).times(1 if column == "nfe" else 100)


def headline(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for text, arms in ARMS.items():
        for arm in arms:
            found |= {f"{text}, {arm}, {c}": mean(rows, text, arm, c) for c in ("correct", "clean", "nfe")}
        found[f"{text}, found"] = mean(rows, text, arms[1], "found")
        if "sources" in arms:
            found[f"{text}, found by sources"] = mean(rows, text, "sources", "found")
        ours = [arm for arm in ("named", "named, and after", "sources", "sources, and after") if arm in arms]
        for arm, column in itertools.product(ours, ("correct", "clean", "nfe")):
            pairs = {other: against(rows, text, arm, other, column) for other in arms if other != arm}
            found |= headlines(f"{text}, {column}, {arm} less", pairs)
    found |= {f"{text}, wrong and found": seen(rows, text) for text in WRITTEN}
    found |= {f"{text}, named, mended": mended(rows, text, "named") for text in ATTEMPTED}
    for text, what in itertools.product(("planted result", "planted and carried"), STANDS):
        found[f"{text}, {what} stands"] = share(rows, text, what)
    for text, arm in itertools.product(ATTEMPTED, ATTEMPTS):
        found[f"{text}, {arm}, left to right"] = mean(rows, text, arm, "correct", "left to right in 8")
    for other, column in itertools.product(("threshold", "left to right"), ("correct", "nfe")):
        pairs = {name: ways(rows, name, other, column) for name in WAYS if name != other}
        found |= headlines(f"{column}, less {other} alone,", pairs)
    return found


TABLE = Table(
    "20_cores",
    settings,
    run,
    live=(
        {"text": "one forward", "arm": "named", "seed": None, "order": "threshold 0.9"},
        {"text": "planted and carried", "arm": "named, and after", "seed": 1, "order": "threshold 0.9"},
    ),
    size=24,
    headlines=headline,
    missing=constraints.missing,
)
