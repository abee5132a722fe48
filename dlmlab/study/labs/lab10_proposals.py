"""Lab 10: proposals in the decode loop of LLaDA-mini: how often is one of K texts right, for K up to 8?

Every problem is answered eight times under every proposal, with one seed for each of the eight. Left to right, which
costs LLaDA-mini least (notebook 01), so that what differs is the draw; and, as attempts to overturn the verdict, with
one token per forward, and surest place first by two measures of sureness.

One of K texts: with c right ones of eight, K of them hold none with probability C(8 - c, K) / C(8, K). No bias, where
the first K would waste the rest (pass@k of Chen et al., arXiv 2107.03374).
"""

import itertools
import math
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

TEXTS = 8  # texts a problem
PROPOSALS = {
    "greedy": None,
    "softmax": Softmax(),
    "softmax, T = 0.5": Softmax(0.5),
    "softmax, T = 1.5": Softmax(1.5),
    "top-p 0.9": Truncated(top_p=0.9),
    "sparsemax": Entmax(),
    "best of 2": BestOf(K=2),
    "best of 4": BestOf(K=4),
    "best of 8": BestOf(K=8),
}
MATCHED = {1: "greedy", 2: "best of 2", 4: "best of 4", 8: "best of 8"}  # what covers every token best for K draws
# planned forwards for the forty places (fewer are run, an end mark stops a text), which place first -> what is asked
ASKED = {
    (10, "left_to_right"): tuple(PROPOSALS),
    (10, "probability"): ("softmax", "best of 2", "best of 8"),  # of the drawn token, as LLaDA does
    (10, "margin"): ("softmax", "best of 8"),  # of the two best, whatever was drawn
    (40, "left_to_right"): ("softmax", "best of 2", "best of 8"),  # one token a forward
}


def settings() -> list[dict]:
    """List what is asked: every proposal left to right at ten planned forwards, and some in other ways."""
    return [
        {"proposal": name, "steps": steps, "score": score} for (steps, score), names in ASKED.items() for name in names
    ]


def run(proposal: str, steps: int, score: str, size: int | None = None) -> dict:
    """Answer 64 test problems, or the first `size` under two of the seeds, by turns of 16, so that a part is a part."""
    model, tokenizer = load("llada-mini")
    problems = tasks.load_split("test")[: 64 if size is None else size]
    sampler = Sampler(score, Fixed(steps), stop_at_eos=True, proposal=PROPOSALS[proposal])
    right = {}
    for seed in range((TEXTS if size is None else 2) if sampler.random else 1):
        right[str(seed)] = ""
        for start in range(0, len(problems), 16):
            g = torch.Generator().manual_seed(1000 * seed + start)
            result = evaluate.accuracy(model, tokenizer, problems[start : start + 16], sampler=sampler, generator=g)
            right[str(seed)] += result.correct
    return {"right": right}


def covered(row: dict, K: int) -> list[float]:
    """Give for each problem the chance that one of K of its texts is right; all texts of greedy are the same one.

    >>> covered({"right": {"0": "10", "1": "00", "2": "00"}}, 2)  # a right one is in two of three pairs
    [0.6666666666666667, 0.0]
    """
    found = []
    for texts in zip(*row["right"].values(), strict=True):
        n, c = len(texts), sum(map(int, texts))
        found.append(float(c) if n == 1 else 1 - math.comb(n - c, K) / math.comb(n, K))
    return found


def gains(
    rows: Sequence[dict], K: int, steps: int = 10, score: str = "left_to_right", *, rival: str = "softmax"
) -> dict[str, Difference]:
    """Compare every proposal with a rival, in points for one of K texts, problem by problem."""
    found = {row["proposal"]: covered(row, K) for row in select(rows, steps=steps, score=score)}
    names = [name for name in PROPOSALS if name in found and name != rival]
    return {name: between(found[name], found[rival]).times(100) for name in names}


def quoted(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found = {}
    for (steps, score), K in itertools.product(ASKED, MATCHED):
        found |= headlines(f"one of {K}, {steps}, {score}", gains(rows, K, steps, score))
    for K in MATCHED:
        found |= headlines(f"one of {K}, against T = 0.5", gains(rows, K, rival="softmax, T = 0.5"))
    return found


TABLE = Table(
    "10_proposals",
    settings,
    run,
    live=tuple({"proposal": name, "steps": 10, "score": "left_to_right"} for name in ("greedy", "best of 2")),
    size=16,
    headlines=quoted,
)
