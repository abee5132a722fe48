"""Notebook 01: exact match against forwards for every way to decode, and what temperature and guidance do.

Two tables of one shape. `01_sampling` holds the whole test split; `01_one_by_one` the ways that take one token per
forward, eight times as dear, on its first half. A comparison across them uses the problems that both have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from dlmlab.decode.commit import Candidates, EntropyBound, Factor, Fixed, Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.decode.trace import cut_at_end
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure import difference, evaluate, store
from dlmlab.measure.table import Table
from dlmlab.study.stand_in import load
from dlmlab.task import layout, tasks

PROBLEMS, FEWER, MINE = 500, 250, 120  # of the test split: the table, one token per forward, a rule of one's own
ONE = Fixed(ANSWER_LENGTH)  # one token per forward
SEEDS = (0, 1, 2)
TWIN = "autoregressive twin"


@dataclass(frozen=True)
class Setting:
    """One line of a table of notebook 01: a method at one cost, with the seeds that chance needs."""

    method: str
    sampler: Sampler
    model: str = "llada-mini"
    seeds: Sequence[int] = (0,)


@dataclass(frozen=True)
class LeastSure(Fixed):
    """Commit by quota what the score ranks *last*: the mirror of a schedule, as a control of its order."""

    def __call__(self, c: Candidates) -> torch.Tensor:
        return super().__call__(replace(c, score=-c.score))


# name -> the sampler with a schedule of so many forwards
SCHEDULES: dict[str, Callable[[Fixed], Sampler]] = {
    "probability": lambda commit: Sampler("probability", commit),
    "left to right": lambda commit: Sampler("left_to_right", commit),
    "end marks last": lambda commit: Sampler("probability", commit, eos_last=True),
    "random order": lambda commit: Sampler("random", commit),
    "left to right, stop at end": lambda commit: Sampler("left_to_right", commit, stop_at_eos=True),
}
BLIND = ("probability", "left to right", "left to right, stop at end")  # what a rule has to beat
BUDGETS = [  # the cheap and the quoted ones first
    ("left to right, stop at end", (6, 4, 5, 3, 7, 8, 10)),
    ("left to right", (3, 5, 10, 6)),
    ("probability", (5, 10, 3)),
    ("end marks last", (5,)),
    ("random order", (5,)),
]


def _schedule(method: str, commit: Fixed) -> Setting:
    sampler = SCHEDULES[method](commit)
    return Setting(method, sampler, seeds=SEEDS if sampler.score == "random" else (0,))


def sampling_settings() -> list[Setting]:
    """List the samplers that notebook 01 compares on the whole test split."""
    found = [Setting("threshold", Sampler(commit=Threshold(tau))) for tau in (0.9, 0.5, 0.7, 0.98)]
    found += [Setting("factor", Sampler(commit=Factor(f))) for f in (0.25, 1.0, 4.0)]
    found += [Setting("entropy bound", Sampler(commit=EntropyBound(gamma))) for gamma in (0.02, 0.1, 1.0)]
    found += [Setting("threshold, blocks of 8", Sampler(commit=Threshold(0.9), block_length=8))]
    found += [Setting("threshold, stop at end", Sampler(commit=Threshold(0.9), stop_at_eos=True))]
    found += [Setting(TWIN, Sampler(), model="llama-mini")]
    found += [_schedule(method, Fixed(steps)) for method, budgets in BUDGETS for steps in budgets]
    found += [Setting("least sure first", Sampler("probability", LeastSure(5)))]
    found += [Setting("guidance 1.0", Sampler(commit=Threshold(0.9), guidance=1.0))]
    return [*found, Setting("temperature 1.0", Sampler("left_to_right", Fixed(5), temperature=1.0))]


def slow_settings() -> list[Setting]:
    """List the samplers that are compared at one token per forward."""
    surest, left, chance = (SCHEDULES[name](ONE) for name in ("probability", "left to right", "random order"))
    return [Setting("probability", surest), Setting("left to right", left), Setting("random order", chance)]


def _keys(settings: Sequence[Setting]) -> list[dict]:
    return [{"method": s.method, "sampler": repr(s.sampler.commit), "seed": seed} for s in settings for seed in s.seeds]


def run(method: str, sampler: str, seed: int, size: int | None = None) -> dict:
    """Answer the first test problems with one setting and one seed.

    `correct` holds one 0 or 1 a problem for the last number, `clean` for every equation (`tasks.verify`);
    `text_tokens` is the mean length of what stands before the first end mark.
    """
    every = [*sampling_settings(), *slow_settings()]
    (setting,) = (s for s in every if (s.method, repr(s.sampler.commit)) == (method, sampler))
    model, tokenizer = load(setting.model)
    problems = tasks.load_split("test")[: size or (FEWER if sampler == repr(ONE) else PROBLEMS)]
    generator = torch.Generator().manual_seed(seed)
    result = evaluate.accuracy(model, tokenizer, problems, sampler=setting.sampler, generator=generator)
    lengths = [len(tokenizer(answer, add_special_tokens=False)["input_ids"]) for answer in result.answers]
    return {
        "nfe": result.mean_nfe,
        "gflop": result.flops / len(problems) / 1e9,
        "text_tokens": sum(lengths) / len(lengths),
        "correct": result.correct,
        "clean": evaluate.digits(v.clean for v in result.verdicts),
    }


def stored() -> list[dict]:
    """Read the rows of both tables."""
    return [*store.read("01_sampling"), *store.read("01_one_by_one")]


def key(method: str, commit: object) -> dict:
    """Name the rows of a method and a commit rule, all seeds."""
    return {"method": method, "sampler": repr(commit)}


def compared(rows: Sequence[dict], a: dict, b: dict, *, column: str = "correct") -> difference.Difference:
    """Difference of a - b in a share, over the problems that both judged and over seeds.

    A row without chance stands beside every seed of the other. Raises `ValueError` when there is no such row.
    """
    sides = {"a": store.select(rows, **a), "b": store.select(rows, **b)}
    found = [row for side in sides.values() for row in side]
    seeds, n = sorted({row["seed"] for row in found}), min(len(row[column]) for row in found)
    pairs = [
        {"side": side, "seed": seed, column: row[column][:n]}
        for side, mine in sides.items()
        for seed in seeds
        for row in mine
        if len(mine) == 1 or row["seed"] == seed
    ]
    return difference.of_rows(pairs, {"side": "a"}, {"side": "b"}, column=column)


def summarize(rows: Sequence[dict]) -> list[dict]:
    """Join the seeds of a setting: mean exact match with the Wilson interval of one run (problems, not seeds, are the
    sample), the share in which every equation is right (`clean`), and the spread over seeds."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["sampler"]), []).append(row)
    table = []
    for (method, sampler), mine in groups.items():
        n, hits = len(mine[0]["correct"]), [row["correct"].count("1") for row in mine]
        share = evaluate.Proportion(round(sum(hits) / len(hits)), n)
        low, high = share.interval
        clean = sum(row["clean"].count("1") for row in mine) / len(mine) / n
        table.append(
            {
                "method": method,
                "sampler": sampler,
                "nfe": sum(r["nfe"] for r in mine) / len(mine),
                "exact_match": sum(hits) / len(hits) / n,
                "low": low,
                "high": high,
                "clean": clean,
                "n": n,
                "seeds": len(mine),
                "spread": (max(hits) - min(hits)) / n,
                "gflop": sum(r["gflop"] for r in mine) / len(mine),
                "text_tokens": sum(r["text_tokens"] for r in mine) / len(mine),
            }
        )
    return table


def point(name: str, loop: Callable, commit: Callable, *, size: int = MINE) -> dict:
    """Judge a loop and a commit rule of one's own, (score, eligible) -> take, as `dlmlab.loop.reverse_loop` plugs them
    together, on the first test problems: a line as of `summarize`, with `correct`, one 0 or 1 a problem.

    Prompts of one length make a batch, so that nothing is padded. The rule may not remember what it was asked before.
    """
    model, tokenizer = load("llada-mini")
    problems, mask_id = tasks.load_split("test")[:size], model.config.mask_token_id
    prompts = [layout.encode_prompt(tokenizer, p.question) for p in problems]
    correct, nfe = [""] * len(problems), [0] * len(problems)
    for length in sorted({len(prompt) for prompt in prompts}):
        rows = [i for i, prompt in enumerate(prompts) if len(prompt) == length]
        x = torch.tensor([prompts[i] + [mask_id] * ANSWER_LENGTH for i in rows])
        with torch.inference_mode():
            ids, forwards = loop(lambda x: model(x).logits, x, commit, mask_id)
        for i, row, n in zip(rows, ids[:, length:].tolist(), forwards.tolist(), strict=True):
            answer = layout.decode_answer(tokenizer, cut_at_end(row, tokenizer.eos_token_id))
            correct[i], nfe[i] = str(int(tasks.verify(problems[i].question, answer).correct)), n
    share = evaluate.Proportion(correct.count("1"), len(problems))
    line = {"method": name, "sampler": "yours", "nfe": sum(nfe) / len(nfe), "exact_match": share.value}
    return line | {"low": share.interval[0], "high": share.interval[1], "seeds": 1, "correct": "".join(correct)}


# what pages quote: name -> the two sides of a difference
ONE_BY_ONE = key("probability", ONE)
STOPPED = "left to right, stop at end"
COMPARED = {
    "left to right, 3 forwards, against one per forward": (key("left to right", Fixed(3)), ONE_BY_ONE),
    "left to right, 5 forwards, against one per forward": (key("left to right", Fixed(5)), ONE_BY_ONE),
    "left to right, 10 forwards, against one per forward": (key("left to right", Fixed(10)), ONE_BY_ONE),
    "left to right, one per forward, against probability": (key("left to right", ONE), ONE_BY_ONE),
    "random order, one per forward, against probability": (key("random order", ONE), ONE_BY_ONE),
    "probability, 5 forwards, against one per forward": (key("probability", Fixed(5)), ONE_BY_ONE),
    "probability against random order, 5 forwards": (key("probability", Fixed(5)), key("random order", Fixed(5))),
    "left to right against probability, 5 forwards": (key("left to right", Fixed(5)), key("probability", Fixed(5))),
    "end marks last against probability, 5 forwards": (key("end marks last", Fixed(5)), key("probability", Fixed(5))),
    "left to right against end marks last, 5 forwards": (
        key("left to right", Fixed(5)),
        key("end marks last", Fixed(5)),
    ),
    "threshold against one per forward": (key("threshold", Threshold(0.9)), ONE_BY_ONE),
    "threshold against left to right, 3 forwards": (key("threshold", Threshold(0.9)), key("left to right", Fixed(3))),
    "threshold against left to right, 5 forwards": (key("threshold", Threshold(0.9)), key("left to right", Fixed(5))),
    "threshold against left to right, 10 forwards": (
        key("threshold", Threshold(0.9)),
        key("left to right", Fixed(10)),
    ),
    "threshold against one per forward, left to right": (key("threshold", Threshold(0.9)), key("left to right", ONE)),
    "threshold against left to right, stop at end, 6 forwards": (
        key("threshold", Threshold(0.9)),
        key(STOPPED, Fixed(6)),
    ),
    "factor against left to right, stop at end, 6 forwards": (key("factor", Factor(1.0)), key(STOPPED, Fixed(6))),
    "threshold 0.7 against left to right, stop at end, 4 forwards": (
        key("threshold", Threshold(0.7)),
        key(STOPPED, Fixed(4)),
    ),
    "left to right, stop at end, 6 forwards against 5": (key(STOPPED, Fixed(6)), key(STOPPED, Fixed(5))),
    "left to right, stop at end, 6 forwards, against one per forward": (key(STOPPED, Fixed(6)), ONE_BY_ONE),
    "probability against least sure first, 5 forwards": (
        key("probability", Fixed(5)),
        key("least sure first", LeastSure(5)),
    ),
    "twin against left to right, stop at end, 6 forwards": (key(TWIN, Fixed()), key(STOPPED, Fixed(6))),
    "blocks of 8, threshold, against left to right, stop at end, 6 forwards": (
        key("threshold, blocks of 8", Threshold(0.9)),
        key(STOPPED, Fixed(6)),
    ),
    "twin against one per forward": (key(TWIN, Fixed()), ONE_BY_ONE),
    "twin against threshold": (key(TWIN, Fixed()), key("threshold", Threshold(0.9))),
    "factor against threshold": (key("factor", Factor(1.0)), key("threshold", Threshold(0.9))),
    "entropy bound against threshold": (key("entropy bound", EntropyBound(0.1)), key("threshold", Threshold(0.9))),
    "entropy bound 0.02 against threshold": (
        key("entropy bound", EntropyBound(0.02)),
        key("threshold", Threshold(0.9)),
    ),
    "blocks of 8 against one block, threshold": (
        key("threshold, blocks of 8", Threshold(0.9)),
        key("threshold", Threshold(0.9)),
    ),
    "temperature 1.0 against 0": (key("temperature 1.0", Fixed(5)), key("left to right", Fixed(5))),
    "guidance 1.0 against none, threshold": (
        key("guidance 1.0", Threshold(0.9)),
        key("threshold", Threshold(0.9)),
    ),
}


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Give exact match, forwards and more of every line, by method and sampler; and the differences whose rows are
    there, in points, with low, high and word."""
    found = {}
    for line in summarize(rows):
        name = f"{line['method']}, {line['sampler']}"
        found |= {name: line["exact_match"], f"{name}, nfe": line["nfe"], f"{name}, clean": line["clean"]}
        found |= {f"{name}, text per forward": line["text_tokens"] / line["nfe"], f"{name}, n": line["n"]}
    for name, (a, b) in COMPARED.items():
        if store.measured(rows, **a) and store.measured(rows, **b):
            d = compared(rows, a, b).times(100)
            found |= {name: d.mean, f"{name}, low": d.low, f"{name}, high": d.high, f"{name}, word": d.word}
    return found


def _all_headlines(rows: list[dict]) -> dict[str, float | str]:
    return headlines(stored())


_TOLERANCE = {"nfe": (0.5, 0.2), "gflop": (0.1, 0.25), "text_tokens": (3.0, 0.1)}  # means over other problems

TABLE = Table(
    "01_sampling",
    lambda: _keys(sampling_settings()),
    run,
    live=[
        {"method": method, "sampler": repr(commit), "seed": 0}
        for method, commit in (
            ("left to right", Fixed(5)),
            ("end marks last", Fixed(5)),
            (STOPPED, Fixed(6)),
            ("threshold", Threshold(0.9)),
            (TWIN, Fixed()),
        )
    ],
    size=16,
    tolerance=_TOLERANCE,
    headlines=_all_headlines,
)
ONE_BY_ONE_TABLE = Table(
    "01_one_by_one",
    lambda: _keys(slow_settings()),
    run,
    live=[{"method": "left to right", "sampler": repr(ONE), "seed": 0}],
    size=4,
    flips=0.25,
    tolerance=_TOLERANCE,
    headlines=headlines,
)
