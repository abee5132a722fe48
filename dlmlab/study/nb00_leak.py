"""Held-out problems that training met but for their distractor: how many, and whether it mattered.

The splits of the course hash distractors (`dlmlab.task.splits`), so a test problem may have occurred in training
without its distractor, or with another one. The stream of training texts is a function of the recipe, so it is made
anew, all of it, and searched (`00_seen`). The models are then judged on all test problems (`00_leak`), and those that a
model met are compared with the others of the same number of equations, with or without a distractor alike.

A problem that is met is also a likely one: its sentences are frequent and its numbers few. So there is a second
control: problems that the stream brings only *after* the last step of the model, had it gone on, likely ones too.
"""

import functools
import json
import re
from collections.abc import Sequence
from functools import cache

from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import matched, store
from dlmlab.measure.difference import Difference
from dlmlab.measure.evaluate import Proportion, accuracy, digits
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.objective.batches import POOL, Batches, TrainConfig
from dlmlab.paths import DATA
from dlmlab.study import judging
from dlmlab.task import tasks
from dlmlab.task.splits import core

FIRST = "llada-mini"  # the model that read most of the stream; the others read its beginning
STEPS, FEW = 16_116, 80  # steps that are searched, twice as many as it took; those that a live slice searches again
OTHER, OTHER_STEPS = "llada-mini-b", 3_760  # the stream of another seed, up to the last step of who read most of it
MODELS, SEEDS, DRAWS = ("llada-mini", "llama-mini"), (0, 1, 2), 8
OTHERS = ("not met", "met later")


def recipe(name: str) -> TrainConfig:
    return TrainConfig.read(DATA / name / "training.toml")


@cache
def last(name: str) -> dict:
    """Read the last entry of the log of a shipped model: its steps and tokens."""
    return json.loads((DATA / name / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])


def texts_of(name: str) -> int:
    """Count the texts that a shipped model was trained on."""
    return (last(name)["step"] - recipe(name).drill_steps) * recipe(name).rows


# ------------------------------------------------------------------------------------------------ what training met


@cache
def search(steps: int, of: str = FIRST) -> tuple[dict[str, int], frozenset[str]]:
    """Read the first `steps` batches of the stream of a model; give the step at which each held-out core is met first,
    and the whole skeletons of held-out problems that are met."""
    held = [problem for split in tasks.SPLIT_SIZES for problem in tasks.load_split(split)]
    cores, whole = {core(p.skeleton) for p in held}, {p.skeleton for p in held}
    batches, first, met = Batches(recipe(of)), {}, set()
    for step in range(0, steps, POOL):
        for i, problems in enumerate(batches.problems(step // POOL)[: steps - step]):
            for problem in problems:
                if (kept := core(problem.skeleton)) in cores:
                    first.setdefault(kept, step + i)
                    met |= {problem.skeleton} & whole
    return first, frozenset(met)


def seen(split: str, size: int | None = None, of: str = FIRST) -> dict:
    """Give for each problem of a split the first step that met its core, -1 for none; `begin`: in the first `FEW`."""
    problems = tasks.load_split(split)
    first, met = search(size or (STEPS if of == FIRST else OTHER_STEPS), of)
    found = {"begin": [step if (step := first.get(core(p.skeleton), -1)) < FEW else -1 for p in problems]}
    if size is None:
        found["step"] = [first.get(core(p.skeleton), -1) for p in problems]
        found["whole"] = sum(p.skeleton in met for p in problems)
    return found


def met(name: str, split: str = "test", rows: Sequence[dict] | None = None) -> list[int]:
    """Say for each problem of a split when a model met its core: 1 in training, 2 only later in the stream, 0 never.

    Raises `ValueError` for a model that read another stream than the searched ones.
    """
    table = searched(name)
    (row,) = store.select(table.rows() if rows is None else rows, split=split)
    return [0 if step < 0 else 1 if step < last(name)["step"] else 2 for step in row["step"]]


def searched(name: str) -> Table:
    """Give the table of the stream that a model read the beginning of. Raises `ValueError` for another stream."""

    def stream(of: str) -> tuple:
        config = recipe(of)
        return config.seed, config.rows, config.context, config.max_equations, config.split_rule

    for of, steps, table in ((FIRST, STEPS, SEEN), (OTHER, OTHER_STEPS, SEEN_OTHER)):
        if stream(name) == stream(of) and last(name)["step"] <= steps:
            return table
    raise ValueError(f"{name} was trained on other texts than {FIRST} and {OTHER}, which were searched")


def _seen_headlines(rows: list[dict]) -> dict[str, float]:
    found: dict[str, float] = {}
    for split in tasks.SPLIT_SIZES:
        (row,) = store.select(rows, split=split)
        found |= {f"{split}, whole": row["whole"], f"{split}, problems": len(row["step"])}
        for name in ("llada-mini", "llama-mini", "llada-small", "llada2-mini-toy"):
            when = met(name, split, rows)
            found |= {f"{split}, {name}": when.count(1), f"{split}, {name}, share": when.count(1) / len(when)}
    for name in MODELS:
        found |= {f"{name}, texts": texts_of(name), f"{name}, texts, share": texts_of(name) / texts_of(FIRST)}
        found[f"{name}, million tokens"] = last(name)["tokens"] / 1e6
    return found


SEEN = Table(
    "00_seen",
    lambda: [{"split": split} for split in tasks.SPLIT_SIZES],
    seen,
    live=({"split": "test"}, {"split": "validation"}),
    size=FEW,
    headlines=_seen_headlines,
)
SEEN_OTHER = Table(
    "09_seen",
    lambda: [{"split": split} for split in tasks.SPLIT_SIZES],
    functools.partial(seen, of=OTHER),
    live=({"split": "test"},),
    size=FEW,
    headlines=lambda rows: {
        f"{name}, {row['split']}": float(met(name, row["split"], rows).count(1))
        for name in (OTHER, "llama-mini-b")
        for row in rows
    },
)


# ------------------------------------------------------------------------------------------------ whether it mattered


def first_number(text: str) -> int | None:
    """Read an answer as graders of GSM8K do: the first number after the mark, whatever follows.

    >>> first_number("12 + 5 = 17 ; #### 17 18"), first_number("12 + 5 = 17")
    (17, None)
    """
    found = re.match(r"\s*([0-9]+)", text.partition("####")[2])
    return int(found[1]) if found else None


def judged(model: str, seed: int | None, size: int | None = None) -> dict:
    """Judge all test problems: `nats` of the answer; and, once a model, `correct`, `clean`, and `lenient`, the verdict
    of who reads the first number."""
    network, tokenizer = load(model)
    nats = judging.answer_bound(network, problems=judging.PROBLEMS, draws=DRAWS, seed=seed or 0, size=size)
    if seed:
        return {"nats": nats}
    problems = tasks.load_split("test")[:size]
    result = accuracy(network, tokenizer, problems, sampler=Sampler(commit=Threshold(0.9)), batch_size=judging.ROWS)
    lenient = digits(first_number(a) == p.answer for p, a in zip(problems, result.answers, strict=True))
    clean = digits(v.clean for v in result.verdicts)
    return {"correct": result.correct, "clean": clean, "lenient": lenient, "nats": nats}


def compared(rows: Sequence[dict], model: str, others: str) -> dict[str, Difference | int]:
    """Compare the problems that a model met with `others`: `points` of exact match, `nats`, and how many there are."""
    when, kinds = met(model), [(p.steps, p.distractor) for p in tasks.load_split("test")]
    theirs = [w == 2 if others == "met later" else w != 1 for w in when]
    w = matched.weights([w == 1 for w in when], theirs, kinds)
    mine = store.select(rows, model=model)
    return {
        "points": matched.of_shares(mine[0]["correct"], w).times(100),
        "nats": matched.of_values([row["nats"] for row in mine], w, kinds),
        "ours": int((w > 0).sum()),
        "theirs": int((w < 0).sum()),
    }


def _leak_headlines(rows: list[dict]) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    for model in MODELS:
        row, when = store.select(rows, model=model)[0], met(model)
        for group, name in ((1, "met"), (None, "not met")):
            share = Proportion.of(
                "".join(c for c, w in zip(row["correct"], when, strict=True) if (w == 1) == bool(group))
            )
            found |= {f"{model}, {name}": share.value, f"{model}, {name}, n": share.n}
        whole = compared(rows, model, OTHERS[0])["points"].times(when.count(1) / len(when))
        found |= {f"{model}, whole split, points": whole.mean, f"{model}, whole split, points, low": whole.low}
        found[f"{model}, whole split, points, high"] = whole.high
        changed = sum(a != b for a, b in zip(row["correct"], row["lenient"], strict=True))
        found |= {f"{model}, lenient verdicts that differ": changed}
        for others in OTHERS:
            both = compared(rows, model, others)
            for unit in ("points", "nats"):
                d, name = both[unit], f"{model}, met - {others}, {unit}"
                found |= {name: d.mean, f"{name}, low": d.low, f"{name}, high": d.high, f"{name}, word": d.word}
            found |= {f"{model}, met - {others}, {side}": both[side] for side in ("ours", "theirs")}
    return found


LEAK = Table(
    "00_leak",
    lambda: [{"model": "llada-mini", "seed": seed} for seed in SEEDS] + [{"model": "llama-mini", "seed": None}],
    judged,
    live=({"model": "llada-mini", "seed": 0}, {"model": "llama-mini", "seed": None}),
    size=12,
    tolerance={"nats": (0.005, 0.005)},
    headlines=_leak_headlines,
)


def told(name: str) -> str:
    """Write what a model's card says about it, as Markdown."""
    counts = {split: met(name, split) for split in tasks.SPLIT_SIZES}
    (row,) = store.select(searched(name).rows(), split="test")
    test = counts["test"]
    lines = [
        "## Held-out problems that training came near",
        "",
        "No training text has the numbers and sentences of a held-out problem; but the rule that split them "
        f"(`{recipe(name).split_rule}`, see `dlmlab.task.splits`) counts distractors, sentences that do not matter. So "
        "training met held-out problems without their distractor, or with another one. All "
        f"{texts_of(name):,} texts were made anew and searched: {test.count(1)} of "
        f"{len(test)} test problems were met in this way ({test.count(1) / len(test):.0%}), "
        f"{counts['validation'].count(1)} of {len(counts['validation'])} of validation, "
        f"{counts['calibration'].count(1)} of {len(counts['calibration'])} of calibration; and {row['whole']} test "
        "problems as a whole.",
    ]
    if name not in MODELS:
        return "\n".join([*lines, "", f"Whether it mattered was measured for {' and '.join(MODELS)}: see their cards."])
    lines += [
        "",
        "Met minus others of the same number of equations, with and without a distractor alike, 95 % interval "
        "(`python -m dlmlab measure 00_leak`, threshold 0.9, all test problems). *Met later*: only after this model's "
        "last step, had the stream gone on; such problems are frequent ones, like those that were met.",
        "",
        "| others | problems | exact match, points | nats an answer |",
        "|---|---|---|---|",
    ]
    for others in OTHERS:
        found = compared(LEAK.rows(), name, others)
        points, nats = found["points"], found["nats"]
        lines.append(
            f"| {others} | {found['ours']} and {found['theirs']} | {points:+.1f}, {points.word} | "
            f"{nats:+.4f}, {nats.word} |"
        )
    whole = compared(LEAK.rows(), name, OTHERS[0])["points"].times(test.count(1) / len(test))
    lines += ["", f"Over the whole test split the first row comes to {whole:+.1f} points of exact match."]
    return "\n".join(lines)
