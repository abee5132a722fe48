"""Lab 17: who tracks a state, from how many samples, at which length, in how many forwards.

Rows of length 12; the same 256 test rows for all, and 256 of twice the length. A seed draws the training rows, the
first weights and the batches. All models of a task take the same number of steps. Digits say, test row by test row,
whether the *last* state is right: it is the one that needs all operations.

Beside the grid there are controls: what the writer is without attention, or without memory; more steps for the masked
model; a third of the learning rate for the one that loses; another depth; linear recurrences. `labels` says what is odd
about the training rows: "shuffled" (states that belong to other operations) or "held out" (no test row among them).

Of S3, `sign` says whether the *sign* of the last state is right, an even or an odd number of swaps: a half of what
there is to know, and a parity. `course` and `sign course` say how both went for the LSTM, every few steps of its
training. Rows of the transformers on S3 are older and lack the sign; where every state is right it would add nothing.
"""

import time
from collections.abc import Callable, Sequence

import torch
from scipy.stats import spearmanr

from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.difference import headlines as named
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.study.labs import lab17_groups as groups
from dlmlab.study.labs import lab17_machines as machines

LONGER = 1500  # steps of S3 for the masked model, of which one seed in three has not learned it in 900
LENGTH, TEST, TEST_SEED = 12, 256, 10**6
STEPS = {"parity": 500, "S3": 900}
WINNERS = 300  # steps of S3 for those that need few: the comparison is to their disadvantage
MODELS = ("LSTM", "labels only", "writer", "masked")
FORWARDS = (1, 2, 3, 4, 6, 12)
GIVEN = 4  # states that are shown, where it is asked how far a forward sees from the middle
EVERY = 10  # steps of the LSTM on S3, after which it is asked
SEEDS = (0, 1, 2)


def run(
    task: str, model: str, samples: int, labels: str, steps: int, rate: float, layers: int, seed: int, size: int = TEST
) -> dict:
    """Train a model and ask it for test rows of both lengths."""
    x, y = unseen(task, samples, seed) if labels == "held out" else groups.draw(task, samples, LENGTH, seed)
    if labels == "shuffled":
        y = y[torch.randperm(samples, generator=torch.Generator().manual_seed(seed))]
    begun, found = time.process_time(), {}
    watch = {"watch": course(found)} if (task, model, labels) == ("S3", "LSTM", "right") else {}
    net = machines.train(model, x, y, steps=steps, rate=rate, layers=layers, seed=seed, **watch)
    spent = time.process_time() - begun
    for name, length in (("last", LENGTH), ("twice", 2 * LENGTH)):
        test, truth = (part[:size] for part in groups.draw(task, TEST, length, TEST_SEED + length))
        said = machines.say(model, net, test)
        found[name] = evaluate.digits((said == truth)[:, -1].tolist())
        if task == "S3":
            same = groups.signs(said[:, -1]) == groups.signs(truth[:, -1])
            found["sign" if length == LENGTH else "twice sign"] = evaluate.digits(same.tolist())
        if length == LENGTH:
            found["all"] = evaluate.digits((said == truth).all(1).tolist())
            if model == "masked":
                found |= by_forwards(net, test, truth)
    if size < TEST:
        return {name: value for name, value in found.items() if isinstance(value, str)}
    trained = machines.say(model, net, x[:TEST]) == y[:TEST]
    return found | {"train": round(float(trained[:, -1].double().mean()), 4), "seconds": round(spent, 1)}


def unseen(task: str, samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw training rows, (samples, L) each, of which none is a test row."""
    x, y = groups.draw(task, 2 * samples, LENGTH, seed)
    test, _ = groups.draw(task, TEST, LENGTH, TEST_SEED + LENGTH)
    new = ~(x[:, None] == test[None]).all(-1).any(1)
    return x[new][:samples], y[new][:samples]


def seen(task: str, samples: int, seed: int) -> list[bool]:
    """Say of each test row of the trained length whether it is among the training rows as they come."""
    x, _ = groups.draw(task, samples, LENGTH, seed)
    test, _ = groups.draw(task, TEST, LENGTH, TEST_SEED + LENGTH)
    known = set(map(tuple, x.tolist()))
    return [tuple(row) in known for row in test.tolist()]


def course(found: dict) -> Callable[[int, torch.nn.Module], None]:
    """Write into `found` how often the last state of S3 and its sign are right, of the test rows, every `EVERY` steps
    of a model that says all states at once."""
    x, y = groups.draw("S3", TEST, LENGTH, TEST_SEED + LENGTH)
    found |= {"course": [], "sign course": []}

    @torch.inference_mode()
    def watch(step: int, net: torch.nn.Module) -> None:
        if step % EVERY == 0:
            said = machines.scores(net, x)[:, -1].argmax(-1)
            same = groups.signs(said) == groups.signs(y[:, -1])
            found["course"].append(round(float((said == y[:, -1]).double().mean()), 4))
            found["sign course"].append(round(float(same.double().mean()), 4))

    return watch


def by_forwards(net, x: torch.Tensor, y: torch.Tensor) -> dict:
    """Ask a masked model in several orders and numbers of forwards; place by place in one, from the start and
    with the first states given; and which order it finds."""
    found: dict = {}
    for order in ("left to right", "confidence"):
        for n in FORWARDS:
            said = machines.fill(net, x, n, order)
            found[f"{order} {n}"] = evaluate.digits((said.y == y)[:, -1].tolist())
            if n == 1:
                found["places"] = [round(v, 4) for v in (said.y == y).double().mean(0).tolist()]
    given = torch.where(torch.arange(x.shape[1]) < GIVEN, y, groups.HIDDEN)
    said_after = machines.fill(net, x, 1, y=given)
    found["after"] = [round(v, 4) for v in (said_after.y == y).double().mean(0).tolist()[GIVEN:]]
    same = groups.signs(said_after.y) == groups.signs(y)  # of S3; of parity it is the state
    found["after sign"] = [round(v, 4) for v in same.double().mean(0).tolist()[GIVEN:]]
    place = torch.arange(x.shape[1]).expand_as(x)  # of the last filling: by confidence, one state a forward
    found["rank"] = round(float(spearmanr(said.when.flatten(), place.flatten()).statistic), 4)
    last = machines.fill(net, x, x.shape[1], "right to left")
    return found | {"right to left 12": evaluate.digits((last.y == y)[:, -1].tolist())}


def key(task: str, model: str, samples: int, seed: int, **other) -> dict:
    """Name a run; what is not said is the usual."""
    steps = WINNERS if task == "S3" and model in ("LSTM", *machines.WRITERS) else STEPS[task]
    usual = {"labels": "right", "steps": steps, "rate": machines.RATE, "layers": 2}
    return {"task": task, "model": model, "samples": samples} | usual | other | {"seed": seed}


def settings() -> list[dict]:
    """List the runs: who tracks from how many samples, then depth, recurrences, and attempts to overturn it."""
    grid = [("parity", model, 4096, {}) for model in MODELS] + [("S3", "masked", 4096, {})]
    grid += [("S3", "LSTM", n, {}) for n in (4096, 256, 64)] + [("S3", "writer", n, {}) for n in (256, 64)]
    grid += [("S3", "labels only", 4096, {}), ("parity", "LSTM", 256, {}), ("parity", "LSTM", 64, {})]
    grid += [("parity", "masked", 256, {}), ("parity", "masked", 4096, {"layers": 1})]
    grid += [("parity", model, 4096, {}) for model in ("positive", "signed")]
    grid += [("parity", "writer", 64, {}), ("S3", "masked", 256, {})]
    grid += [("S3", "masked", 4096, {"steps": LONGER})]
    grid += [("S3", "LSTM", 4096, {"labels": "shuffled"}), ("S3", "labels only", 4096, {"rate": machines.RATE / 3})]
    grid += [("S3", model, n, {}) for model in ("LSTM writer", "MLP writer") for n in (256, 64)]
    grid += [("parity", "positive", 4096, {"labels": "held out"})]
    return [key(task, model, n, seed, **other) for task, model, n, other in grid for seed in SEEDS]


# ------------------------------------------------------------------------------------------------ what is read off


def asked(task: str, model: str, samples: int, **other) -> dict:
    """Name a run without its seed."""
    return {name: value for name, value in key(task, model, samples, 0, **other).items() if name != "seed"}


def share(rows: Sequence[dict], run: dict, column: str = "last") -> Difference:
    """Share of test rows whose last state is right, over rows and seeds, with its interval."""
    mine = select(rows, **run)
    nothing = [{"seed": row["seed"], "who": "nobody", column: "0" * len(row[column])} for row in mine]
    return of_rows(
        [row | {"who": "model"} for row in mine] + nothing, {"who": "model"}, {"who": "nobody"}, column=column
    )


def chance(rows: Sequence[dict], run: dict, column: str = "last") -> Difference:
    """Compare a run with one that guesses, test row by test row: a right state counts 1 - 1 / G, a wrong one -1 / G.
    A sign has two values, whatever the task."""
    G = 2 if "sign" in column else groups.GROUPS[run["task"]]
    mine = [row | {"gain": [int(v) - 1 / G for v in row[column]]} for row in select(rows, **run)]
    zero = [{"seed": row["seed"], "who": "nobody", "gain": [0.0] * len(row["gain"])} for row in mine]
    return of_rows([row | {"who": "model"} for row in mine] + zero, {"who": "model"}, {"who": "nobody"}, column="gain")


def less(rows: Sequence[dict], a: dict, b: dict, column: str = "last", other: str | None = None) -> Difference:
    """Compare two runs, or two columns of one, test row by test row, over seeds."""
    mine = [row | {"who": "a", "it": row[column]} for row in select(rows, **a)]
    mine += [row | {"who": "b", "it": row[other or column]} for row in select(rows, **b)]
    return of_rows(mine, {"who": "a"}, {"who": "b"}, column="it")


def mean(rows: Sequence[dict], run: dict, column: str) -> list[float] | float:
    """Mean of a column over seeds, place by place where it is a list."""
    found = [row[column] for row in select(rows, **run)]
    if isinstance(found[0], list):
        return [sum(values) / len(found) for values in zip(*found, strict=True)]
    return sum(found) / len(found)


def runs(rows: Sequence[dict]) -> list[dict]:
    """List the runs of the table without their seeds, in its order."""
    found: list[dict] = []
    for row in rows:
        run = {name: row[name] for name in asked("S3", "masked", 64)}
        if run not in found:
            found.append(run)
    return found


def name(run: dict) -> str:
    """Write a run in a few words: what is usual is left out."""
    usual = asked(run["task"], run["model"], run["samples"])
    odd = {"shuffled": "shuffled labels", "held out": "no test row"}
    other = [odd[run[k]] if k == "labels" else f"{k} {run[k]:g}" for k in usual if run[k] != usual[k]]
    return ", ".join((run["task"], run["model"], f"{run['samples']:,}", *other))


def apart(rows: Sequence[dict]) -> tuple[float, float]:
    """Share right of the positive linear net on parity, of test rows that it was trained on and of the others, over all
    seeds."""
    pairs = [
        (known, int(digit))
        for row in select(rows, **asked("parity", "positive", 4096))
        for known, digit in zip(seen("parity", 4096, row["seed"]), row["last"], strict=True)
    ]
    old, new = ([digit for known, digit in pairs if known is which] for which in (True, False))
    return sum(old) / len(old), sum(new) / len(new)


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for run in runs(rows):
        found[f"{name(run)}, own rows"] = mean(rows, run, "train")
        for column, what in (("last", ""), ("twice", ", twice")):
            found |= named(name(run) + what, {"share": share(rows, run, column), "chance": chance(rows, run, column)})
        for column in ("sign", "twice sign"):
            if all(column in row for row in select(rows, **run)):
                is_right = {"share": share(rows, run, column), "chance": chance(rows, run, column)}
                found |= named(f"{name(run)}, {column}", is_right)
        if run["model"] == "masked":
            for n in FORWARDS:
                for order in ("left to right", "confidence"):
                    found[f"{name(run)}, {order} {n}"] = share(rows, run, f"{order} {n}").mean
            column = "left to right 1"
            one = {"share": share(rows, run, column), "chance": chance(rows, run, column)}
            found |= named(f"{name(run)}, one forward", one)
            found |= named(f"{name(run)}, one forward less twelve", {"left": less(rows, run, run, column, "last")})
            found[f"{name(run)}, rank"] = mean(rows, run, "rank")
            for n in (4, 6):
                pair = less(rows, run, run, f"confidence {n}", f"left to right {n}")
                found |= named(f"{name(run)}, confidence less left, {n}", {"forwards": pair})
    return found | pairs(rows)


def pairs(rows: Sequence[dict]) -> dict[str, float | str]:
    """Compare the runs that a verdict holds against one another."""
    d = less(rows, asked("S3", "masked", 4096, steps=LONGER), asked("S3", "masked", 4096))
    found = named("S3, 4,096,", {"more steps less the usual": d})
    compared = [("S3", 256, "masked", "writer"), ("S3", 64, "writer", "LSTM"), ("S3", 64, "LSTM writer", "LSTM")]
    compared += [("S3", n, f"{kind} writer", "writer") for n in (64, 256) for kind in ("LSTM", "MLP")]
    compared += [("S3", 256, "LSTM", "writer"), ("parity", 4096, "masked", "writer")]
    compared += [("parity", 4096, "signed", "positive")]
    for task, n, a, b in compared:
        for column, what in (("last", ""), ("twice", " at twice the length")):
            d = less(rows, asked(task, a, n), asked(task, b, n), column)
            found |= named(f"{task}, {n:,},", {f"{a} less {b}{what}": d})
    d = less(rows, asked("parity", "positive", 4096, labels="held out"), asked("parity", "positive", 4096))
    found |= named("parity, 4,096,", {"positive, no test row less the usual": d})
    one, two = (asked("parity", "masked", 4096, layers=n) for n in (1, 2))
    found |= dict(zip(("parity, positive, seen", "parity, positive, not seen"), apart(rows), strict=True))
    return found | named("parity, 4,096,", {"one layer less two, 6": less(rows, one, two, "left to right 6")})


TABLE = Table(
    "17_tracked",
    settings,
    run,
    live=(key("parity", "LSTM", 256, 0), key("S3", "LSTM", 256, 0)),
    size=64,
    headlines=headlines,
)
