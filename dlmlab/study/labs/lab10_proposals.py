"""Lab 10: proposals in the decode loop of LLaDA-mini: how often one text is right, and one of eight.

Every problem is answered eight times under every proposal, with one seed for each of the eight. Left to right, which
costs LLaDA-mini least (notebook 01), so that what differs is the draw.
"""

from collections.abc import Sequence

import torch

from dlmlab.decode.commit import Fixed
from dlmlab.decode.proposal import BestOf, Entmax, Softmax, Truncated
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, between, headlines
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.task import tasks

K = 8  # texts a problem
PROPOSALS = {
    "greedy": None,
    "softmax": Softmax(),
    "softmax, T = 0.5": Softmax(0.5),
    "softmax, T = 1.5": Softmax(1.5),
    "top-p 0.9": Truncated(top_p=0.9),
    "sparsemax": Entmax(),
    "best of 2": BestOf(K=2),
    "best of 8": BestOf(K=8),
}
STEPS = (10, 40)  # planned forwards for the forty places; fewer are run, an end mark stops a text
SLOW = ("softmax", "best of 8")  # also with one token a forward


def settings() -> list[dict]:
    """List every proposal at ten planned forwards, and some at one token a forward."""
    return [{"proposal": name, "steps": steps} for steps in STEPS for name in PROPOSALS if steps == 10 or name in SLOW]


def run(proposal: str, steps: int, size: int | None = None) -> dict:
    """Answer 64 test problems, or the first `size`, by turns of 16 with a seed each, so that a part is a part."""
    model, tokenizer = load("llada-mini")
    problems = tasks.load_split("test")[: 64 if size is None else size]
    sampler = Sampler("left_to_right", Fixed(steps), stop_at_eos=True, proposal=PROPOSALS[proposal])
    right = {}
    for seed in range(K if sampler.random else 1):
        right[str(seed)] = ""
        for start in range(0, len(problems), 16):
            g = torch.Generator().manual_seed(1000 * seed + start)
            result = evaluate.accuracy(model, tokenizer, problems[start : start + 16], sampler=sampler, generator=g)
            right[str(seed)] += result.correct
    return {"right": right}


def one(row: dict) -> list[float]:
    """Give for each problem the share of its texts that are right."""
    return [sum(map(int, texts)) / len(texts) for texts in zip(*row["right"].values(), strict=True)]


def any_of(row: dict) -> str:
    """Give for each problem whether one of its texts is right, as a string of digits."""
    return "".join(max(texts) for texts in zip(*row["right"].values(), strict=True))


def gains(rows: Sequence[dict], steps: int, of=any_of) -> dict[str, Difference]:
    """Compare every proposal with plain softmax, in points, problem by problem."""
    found = {row["proposal"]: row for row in select(rows, steps=steps)}
    return {
        name: between(of(found[name]), of(found["softmax"])).times(100)
        for name in PROPOSALS
        if name in found and name != "softmax"
    }


def quoted(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found = {}
    for steps in STEPS:
        found |= headlines(f"one of eight, {steps}", gains(rows, steps))
        found |= headlines(f"a single text, {steps}", gains(rows, steps, one))
    return found


TABLE = Table(
    "10_proposals",
    settings,
    run,
    live=({"proposal": "greedy", "steps": 10}, {"proposal": "best of 2", "steps": 10}),
    size=16,
    headlines=quoted,
)
