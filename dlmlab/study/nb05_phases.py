"""Notebook 05: bits that change during a run: every order of three levels over three phases, at equal mean bits.

Levels are rounded to nearest, in groups, so nothing depends on texts. `levels` "4-3-2" means: four bits in the first
phase, three in the second, two in the third. What a phase is depends on the rule: thirds of the forwards (`steps`), of
the share of masks (`share`), or of the confidence of the last forward (`confidence`, round cuts near the thirds of the
forwards). `random` deals the same levels out anew, forward by forward, by the seed.

Equal over the phases is not equal over the forwards: under a threshold the first forward writes nine tokens of ten, so
most forwards belong to the last phase. There a schedule is compared with the line through the uniform ones at the bits
that it really used (a share of the problems at one width, the rest at the next).

How it is judged, `by`:
    nats       likelihood; a state with many masks is early, and the rule can only be `share`
    threshold  exact match on 500 problems, threshold 0.9: about three forwards a problem
    fixed      exact match on 250 problems, nine forwards, in one block: every phase is as long as the others
    chance     as `fixed`, on 100 problems, but chance decides which positions are written next, not confidence; the
               seed draws them
"""

from collections.abc import Sequence
from functools import cache
from itertools import permutations

import torch

from dlmlab.compress import registry
from dlmlab.compress.quant.precision import ByConfidence, ByShare, BySteps, Rule, Scheduled
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import difference, store
from dlmlab.measure.difference import Difference
from dlmlab.measure.table import Table
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import SEEDS, dense
from dlmlab.study.nb05_methods import TOLERANCE, bound, judged, spec

LOW = ("3-3-3", *("-".join(p) for p in permutations("432")))  # mean 3, low enough to hurt
WIDE = ("8-4-2", "2-4-8")  # mean 14/3, which no uniform one has
PUBLISHED = ("16-4-4", "4-4-16", "8-8-8")  # mean 8, the sentence that circulates
EARLY, LATE, MIDDLE, UNIFORM = "4-3-2", "2-3-4", "2-4-3", "3-3-3"
LINE = {2: "2-2-2", 3: UNIFORM, 4: "4-4-4"}
STEPS = {"threshold": 3, "fixed": 9, "chance": 9}  # forwards of a run that the phases cut
CUTS = (0.4, 0.8)  # confidences; the first forward of a run counts as 0
DEALT = 13  # how often the three levels are dealt out at random: 39 forwards, or shares
SAMPLERS = {
    "threshold": (Sampler(commit=Threshold(0.9)), 500),
    "fixed": (Sampler(commit=Fixed(STEPS["fixed"])), 250),
    "chance": (Sampler(score="random", commit=Fixed(STEPS["chance"])), 100),
}


@cache
def at(bits: int) -> LLaDAModelLM:
    """Make LLaDA-mini of so many bits; 16 are the floating-point model."""
    return dense() if bits == 16 else registry.compress(dense(), "rtn", spec(bits))


def dealt(levels: Sequence[int], seed: int) -> list[int]:
    """Deal the levels out at random: every three in a row hold each of them once."""
    generator = torch.Generator().manual_seed(seed)
    return [levels[i] for _ in range(DEALT) for i in torch.randperm(len(levels), generator=generator).tolist()]


def rule_of(rule: str, levels: Sequence[int], by: str, seed: int) -> Rule:
    """Make the rule of a row."""
    if rule == "random":
        order = dealt(levels, seed)
        return ByShare(order) if by == "nats" else BySteps(order, len(order))
    if rule == "confidence":
        return ByConfidence(levels, CUTS)
    return ByShare(levels) if rule == "share" else BySteps(levels, STEPS[by])


def settings() -> list[dict]:
    """List likelihoods, then answers, the comparison of early and late first."""
    arms = [("nats", "share", levels, seed) for levels in (*LOW, *WIDE, *PUBLISHED) for seed in SEEDS]
    arms += [("nats", "random", EARLY, seed) for seed in SEEDS]
    arms += [("threshold", "steps", levels, 0) for levels in (UNIFORM, EARLY, "4-2-3", LATE, MIDDLE, LINE[2], LINE[4])]
    arms += [("fixed", "steps", levels, 0) for levels in (UNIFORM, EARLY, LATE, MIDDLE)]
    arms += [("threshold", "confidence", levels, 0) for levels in (EARLY, LATE)]
    arms += [("chance", "steps", levels, seed) for seed in SEEDS for levels in (EARLY, LATE, UNIFORM)]
    return [dict(zip(("by", "rule", "levels", "seed"), arm, strict=True)) for arm in arms]


def run(by: str, rule: str, levels: str, seed: int, size: int | None = None) -> dict:
    """Measure one schedule; `mean_bits` is the mean over the forwards that were run, `nats` or `correct` the result."""
    bits = [int(b) for b in levels.split("-")]
    model = Scheduled({b: at(b) for b in bits}, rule_of(rule, bits, by, seed))
    if by == "nats":
        found = {"nats": bound(model, seed, size)}
    else:
        sampler, problems = SAMPLERS[by]
        drawn = torch.Generator().manual_seed(seed) if by == "chance" else None
        found = judged(model, sampler=sampler, problems=problems, size=size, generator=drawn)
    return found if size else found | {"mean_bits": round(model.mean_bits, 4)}


# ------------------------------------------------------------------------------------------------ what pages quote


def early_against_late(rows: Sequence[dict]) -> dict[str, Difference]:
    """Compare four bits first with four bits last, in every way that both were judged; nats turned round, so that
    higher is always better for early."""
    found = {}
    for high, low in ((EARLY, LATE), WIDE, PUBLISHED[:2]):
        for by, rule in dict.fromkeys((row["by"], row["rule"]) for row in rows):
            pair = [{"by": by, "rule": rule, "levels": levels} for levels in (high, low)]
            if all(store.measured(rows, **key) for key in pair):
                unit, column = (-1, "nats") if by == "nats" else (100, "correct")
                name = f"{high} by {rule}, {by}"
                found[name] = difference.of_rows(rows, *pair, column=column).times(unit)
    return found


def against_uniform(rows: Sequence[dict], by: str) -> dict[str, Difference]:
    """Compare orders of the low levels with three bits throughout: by their levels, and "random" for the likelihood."""
    rule, (unit, column) = ("share", (-1, "nats")) if by == "nats" else ("steps", (100, "correct"))
    uniform = {"by": by, "rule": rule, "levels": UNIFORM}
    found = {
        levels: difference.of_rows(rows, uniform | {"levels": levels}, uniform, column=column).times(unit)
        for levels in LOW[1:]
        if store.measured(rows, **uniform | {"levels": levels})
    }
    if by != "nats":
        return found
    dealt_out = {"by": by, "rule": "random"}
    return found | {"random": difference.of_rows(rows, dealt_out, uniform, column=column).times(unit)}


def against_line(rows: Sequence[dict]) -> dict[str, Difference]:
    """Compare schedules under a threshold with the line through 2, 3 and 4 bits at the bits they used, in points."""
    key = {"by": "threshold", "rule": "steps"}
    uniform = {b: store.select(rows, levels=levels, **key)[0] for b, levels in LINE.items()}
    found = {}
    for row in store.select(rows, by="threshold"):
        if row["levels"] in LINE.values():
            continue
        used = row["mean_bits"]
        low = min(int(used), 3)
        pairs = zip(uniform[low]["correct"], uniform[low + 1]["correct"], strict=True)
        line = [int(a) + (used - low) * (int(b) - int(a)) for a, b in pairs]
        gap = difference.between([int(c) for c in row["correct"]], line)
        found[f"{row['levels']} by {row['rule']}"] = gap.times(100)
    return found


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote: early against late, and every order against three bits throughout."""
    found = difference.headlines("early - late,", early_against_late(rows))
    for by in ("nats", "threshold", "fixed", "chance"):
        found |= difference.headlines(f"{by} - uniform,", against_uniform(rows, by))
    found |= difference.headlines("threshold - line,", against_line(rows))
    for row in rows:
        if row["by"] != "nats" and row["seed"] == 0:
            found[f"mean bits {row['levels']} by {row['rule']}, {row['by']}"] = row["mean_bits"]
    return found


TABLE = Table(
    "05_phases",
    settings,
    run,
    live=(
        {"by": "nats", "rule": "share", "levels": EARLY, "seed": 0},
        {"by": "threshold", "rule": "steps", "levels": LATE, "seed": 0},
        {"by": "threshold", "rule": "confidence", "levels": EARLY, "seed": 0},
        {"by": "nats", "rule": "random", "levels": EARLY, "seed": 1},
    ),
    size=10,
    tolerance=TOLERANCE,
    headlines=headlines,
)
