"""Lab 17: who tracks a state, from how many samples, at which length, in how many forwards.

Rows of length 12; the same 256 test rows for all, and 256 of twice the length. A seed draws the training rows, the
first weights and the batches. All models of a task take the same number of steps. Digits say, test row by test row,
whether the *last* state is right: it is the one that needs all operations.

Beside the grid there are controls: states that belong to other operations (`labels`), three times the steps and a third
of the learning rate for the one that loses, other depths of the masked model, and linear recurrences.
"""

import time
from collections.abc import Sequence

import torch
from scipy.stats import spearmanr

from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.study.labs import lab17_groups as groups
from dlmlab.study.labs import lab17_machines as machines

LENGTH, TEST, TEST_SEED = 12, 256, 10**6
STEPS = {"parity": 500, "S3": 900}
WINNERS = 300  # steps of S3 for the two that need few: the comparison is to their disadvantage
MODELS = ("LSTM", "labels only", "writer", "masked")
FORWARDS = (1, 2, 3, 4, 6, 12)
GIVEN = 4  # states that are shown, where it is asked how far a forward sees from the middle
SEEDS = (0, 1, 2)


def run(
    task: str, model: str, samples: int, labels: str, steps: int, rate: float, layers: int, seed: int, size: int = TEST
) -> dict:
    """Train a model and ask it for test rows of both lengths."""
    x, y = groups.draw(task, samples, LENGTH, seed)
    if labels == "shuffled":
        y = y[torch.randperm(samples, generator=torch.Generator().manual_seed(seed))]
    begun = time.process_time()
    net = machines.train(model, x, y, steps=steps, rate=rate, layers=layers, seed=seed)
    spent = time.process_time() - begun
    found: dict = {}
    for name, length in (("last", LENGTH), ("twice", 2 * LENGTH)):
        test, truth = (part[:size] for part in groups.draw(task, TEST, length, TEST_SEED + length))
        said = machines.say(model, net, test)
        found[name] = evaluate.digits((said == truth)[:, -1].tolist())
        if length == LENGTH:
            found["all"] = evaluate.digits((said == truth).all(1).tolist())
            if model == "masked":
                found |= by_forwards(net, test, truth)
    if size < TEST:
        return {name: value for name, value in found.items() if isinstance(value, str)}
    trained = machines.say(model, net, x[:TEST]) == y[:TEST]
    return found | {"train": round(float(trained[:, -1].double().mean()), 4), "seconds": round(spent, 1)}


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
    place = torch.arange(x.shape[1]).expand_as(x)  # of the last filling: by confidence, one state a forward
    found["rank"] = round(float(spearmanr(said.when.flatten(), place.flatten()).statistic), 4)
    last = machines.fill(net, x, x.shape[1], "right to left")
    return found | {"right to left 12": evaluate.digits((last.y == y)[:, -1].tolist())}


def key(task: str, model: str, samples: int, seed: int, **other) -> dict:
    """Name a run; what is not said is the usual."""
    steps = WINNERS if task == "S3" and model in ("LSTM", "writer") else STEPS[task]
    usual = {"labels": "right", "steps": steps, "rate": machines.RATE, "layers": 2}
    return {"task": task, "model": model, "samples": samples} | usual | other | {"seed": seed}


def settings() -> list[dict]:
    """List the runs: who tracks from how many samples, then depth, recurrences, and attempts to overturn it."""
    grid = [("parity", model, 4096, {}) for model in MODELS] + [("S3", "masked", 4096, {})]
    grid += [("S3", "LSTM", n, {}) for n in (4096, 256, 64)] + [("S3", "writer", n, {}) for n in (256, 64)]
    grid += [("S3", "labels only", 4096, {}), ("parity", "LSTM", 256, {}), ("parity", "LSTM", 64, {})]
    grid += [("parity", "masked", 256, {}), ("parity", "masked", 4096, {"layers": 1})]
    grid += [("parity", model, 4096, {}) for model in ("positive", "signed")]
    grid += [("parity", "writer", 64, {}), ("S3", "masked", 256, {}), ("parity", "masked", 64, {})]
    grid += [("S3", "LSTM", 4096, {"labels": "shuffled"}), ("S3", "labels only", 4096, {"rate": machines.RATE / 3})]
    return [key(task, model, n, seed, **other) for task, model, n, other in grid for seed in SEEDS]


TABLE = Table(
    "17_tracked",
    settings,
    run,
    live=(key("parity", "LSTM", 256, 0), key("S3", "LSTM", 256, 0)),
    size=64,
)
