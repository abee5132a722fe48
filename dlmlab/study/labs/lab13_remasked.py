"""Lab 13: which tokens of a finished draft to doubt, and what to do with them.

`RANKED`: does a confidence rank the wrong tokens of a draft below its right ones? One number for each draft that has
both: the share of pairs (a wrong and a right token) in which the wrong one has less confidence, ties counted half.

`REVISED`: the k tokens of least confidence are masked and written again in `refill` forwards (`mask once`: in one), or
overwritten in one.
`read`: sequences that went through the network for one problem, the draft included: leave-one-out reads one for every
token in question. `calls`: how often in a row the network was asked, which is what waits, if the rows of a call cost
nothing.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from dlmlab.decode import sampling, trust
from dlmlab.decode.commit import Fixed
from dlmlab.decode.sampling import Sampler
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure import evaluate, store
from dlmlab.measure.difference import Difference, between, headlines, of_rows
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.study.judging import SEEDS
from dlmlab.study.labs import lab13_drafts as source
from dlmlab.task import layout, tasks

HASTY, BOLD = source.DRAFTS
DETECTION = {"random": 0, "stored": 0, "re-evaluated": 1, "head": 1, "truth": 0}  # sequences to read
K = 8
RANKED_DRAFTS = {HASTY: 200, BOLD: 500}  # of the test split; bold drafts have fewer errors
FEWER = 150  # of the test problems, for what is dear: leave-one-out reads a sequence for every token


def ranked(confidence: Tensor, right: Tensor) -> float:
    """Share of pairs in which the wrong token has less confidence than the right one, ties half.

    >>> ranked(torch.tensor([0.1, 0.5, 0.5]), torch.tensor([False, True, False]))
    0.75
    """
    wrong, good = confidence[~right][:, None], confidence[right][None]
    return float(((wrong < good).double() + 0.5 * (wrong == good).double()).mean())


def rank(draft: str, confidence: str, size: int | None = None) -> dict:
    """Rank the tokens of the test drafts by one confidence; `auc` one number for each draft with an error."""
    _, tokenizer = load("llada-mini")
    size = size or RANKED_DRAFTS[draft]
    drafts, found = source.drafts(draft, size=size), []
    known = None if confidence == "leave-one-out" else source.confidence(draft, confidence, size)
    for i, d in enumerate(drafts):
        right = d.right[d.places]
        if bool(right.any()) and not bool(right.all()):  # leave-one-out is dear: of these drafts only
            dear = known is None and trust.leave_one_out(source.denoiser(), d.x, d.places, tokenizer.mask_token_id)
            found.append(round(ranked((dear if known is None else known[i])[d.places], right), 4))
    return {"auc": found}


def rank_pairs(rows: Sequence[dict], draft: str) -> dict[str, Difference]:
    """Compare the confidences, drafts of one kind, in points of ranked pairs."""
    auc = {row["confidence"]: row["auc"] for row in select(rows, draft=draft)}
    pairs = itertools.combinations(("re-evaluated", "leave-one-out", "head", "stored", "every number"), 2)
    return {f"{a} - {b}": between(auc[a], auc[b]).times(100) for a, b in pairs}


def rank_lines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for draft in source.DRAFTS:
        mine = select(rows, draft=draft)
        found |= {f"{draft}, {row['confidence']}": 100 * sum(row["auc"]) / len(row["auc"]) for row in mine}
        found |= {f"{draft}, drafts": len(mine[0]["auc"])} | headlines(f"{draft},", rank_pairs(rows, draft))
    return found


RANKED = Table(
    "13_ranked",
    lambda: [{"draft": draft, "confidence": name} for draft in source.DRAFTS for name in source.CONFIDENCES],
    rank,
    live=({"draft": HASTY, "confidence": "stored"}, {"draft": HASTY, "confidence": "re-evaluated"}),
    size=12,
    tolerance={"auc": (0.1, 0.0)},
    headlines=rank_lines,
)


def settings() -> list[dict]:
    """List the hasty draft and what is done with it, then the bold one."""

    def line(by, how="mask", *, draft=HASTY, refill=2, k=K, seed=None):
        return {"draft": draft, "by": by, "how": how, "k": k, "refill": refill, "seed": seed}

    found = [line("nothing", "keep", refill=0, k=0)]
    found += [line("random", seed=seed) for seed in SEEDS]
    found += [line(by) for by in ("stored", "re-evaluated", "truth", "head", "leave-one-out")]
    for by in ("re-evaluated", "truth", "leave-one-out"):
        found += [line(by, how, refill=1) for how in ("overwrite", "mask once")]
    return found + [line(by, "mask once", draft=BOLD, refill=1, k=4) for by in ("stored", "head")]


def problems(by: str, how: str) -> int | None:
    """Say how many test problems a way is measured on: all, or the first `FEWER`."""
    few = by in ("head", "leave-one-out") or how not in ("keep", "mask")
    return FEWER if few else None


def chosen(d: source.Draft, confidence: Tensor, by: str, k: int) -> Tensor:
    """Mark what is revised, (L,) bool: the k least trusted places; of the truth only those that are wrong."""
    return d.places & ~d.right if by == "truth" else trust.lowest_places(confidence, d.places, k)


def confidences(draft: str, by: str, seed: int | None, size: int | None) -> list[Tensor]:
    """Give the confidence of every draft; a random one is drawn in the order of the problems."""
    if by != "random":
        return source.confidence(draft, by, size)
    g = torch.Generator().manual_seed(seed)
    return [torch.rand(len(d.x), generator=g) for d in source.drafts(draft, size=size)]


def run(draft: str, by: str, how: str, k: int, refill: int, seed: int | None, size: int | None = None) -> dict:
    """Revise the drafts of the test problems once; `correct` one digit a problem."""
    size = size or problems(by, how)
    _, tokenizer = load("llada-mini")
    found = source.drafts(draft, size=size)
    if how == "keep":
        texts, extra = [d.x for d in found], [0] * len(found)
    else:
        c = confidences(draft, by, seed, size)
        marked = [chosen(d, own, by, k) for d, own in zip(found, c, strict=True)]
        detection = [DETECTION.get(by, int(d.places.sum())) for d in found]
        texts = overwritten(draft, found, marked, by, size) if how == "overwrite" else refilled(found, marked, refill)
        again = 0 if how == "overwrite" and by in ("re-evaluated", "leave-one-out") else refill  # one forward for both
        extra = [n + again * bool(m.any()) for n, m in zip(detection, marked, strict=True)]
    answers = [layout.decode_answer(tokenizer, x[-ANSWER_LENGTH:].tolist()) for x in texts]
    verdicts = [tasks.verify(d.problem.question, a).correct for d, a in zip(found, answers, strict=True)]
    read = [d.forwards + n for d, n in zip(found, extra, strict=True)]
    calls = [d.forwards + min(n, 1 + refill) for d, n in zip(found, extra, strict=True)]
    same = [int((d.x != x).sum()) for d, x in zip(found, texts, strict=True)]
    return {
        "correct": evaluate.digits(verdicts),
        "read": round(sum(read) / len(read), 3),
        "calls": round(sum(calls) / len(calls), 3),
        "changed": round(sum(same) / len(same), 3),
    }


def overwritten(draft: str, found: list[source.Draft], marked: list[Tensor], by: str, size: int | None) -> list[Tensor]:
    """Write at each marked place what the model would write there: with the place masked alone, or all visible."""
    texts = []
    for i, (d, m) in enumerate(zip(found, marked, strict=True)):
        if by == "leave-one-out":
            best = d.x.clone()
            best[d.places] = source.others(draft, size)[i].argmax(1)
        else:
            best = source.visible(draft, size=size)[i].best
        texts.append(torch.where(m, best, d.x))
    return texts


def refilled(found: list[source.Draft], marked: list[Tensor], refill: int) -> list[Tensor]:
    """Mask the marked places and write them again in so many forwards; texts without any are not read."""
    model, tokenizer = load("llada-mini")
    texts = [d.x for d in found]
    order = sorted((i for i, m in enumerate(marked) if bool(m.any())), key=lambda i: (len(texts[i]), i))
    for start in range(0, len(order), source.BATCH):
        rows = order[start : start + source.BATCH]
        masked = [texts[i].masked_fill(marked[i], tokenizer.mask_token_id).tolist() for i in rows]
        out = sampling.sample(model, masked, gen_length=0, sampler=Sampler(commit=Fixed(refill)))
        for i, ids in zip(rows, out.ids, strict=True):
            texts[i] = ids[-len(texts[i]) :].clone()
    return texts


CONTROLS = {  # plain samplers, as notebooks 01 and 07 store them
    "7 forwards, surest first": ("07_edits", {"commit": "7 forwards", "edit": "none"}),
    "threshold 0.9": ("01_sampling", {"method": "threshold", "sampler": "Threshold(tau=0.9, strict=False)"}),
    "threshold 0.5": ("01_sampling", {"method": "threshold", "sampler": "Threshold(tau=0.5, strict=False)"}),
    "left to right, 5": ("01_sampling", {"method": "left to right", "sampler": "Fixed(steps=5)"}),
    "left to right, 6, stop": ("01_sampling", {"method": "left to right, stop at end", "sampler": "Fixed(steps=6)"}),
}


def control(name: str) -> dict:
    """Read the stored row of a plain sampler."""
    table, key = CONTROLS[name]
    return select(store.read(table), **key)[0]


def key(by: str, how: str = "mask", draft: str = HASTY) -> dict:
    """Name the rows of one way to revise, all seeds."""
    return {"draft": draft, "by": by, "how": how}


def compared(rows: Sequence[dict], a: dict, b: dict) -> Difference:
    """Difference of two ways in points, over the problems that both have."""
    n = min(len(row["correct"]) for way in (a, b) for row in select(rows, **way))
    return of_rows([row | {"correct": row["correct"][:n]} for row in rows], a, b, column="correct").times(100)


def gains(rows: Sequence[dict]) -> dict[str, Difference]:
    """Compare the ways to revise with each other and with plain samplers, in points."""
    rows = [*rows, *({"by": name, "seed": None, "correct": control(name)["correct"]} for name in CONTROLS)]
    ways = {by: key(by) for by in ("stored", "re-evaluated", "head", "leave-one-out", "truth")}
    pairs = {f"{by} - random": (way, key("random")) for by, way in ways.items()}
    for a, b in itertools.combinations(reversed(ways), 2):
        pairs[f"{a} - {b}"] = ways[a], ways[b]
    for by in ("re-evaluated", "truth", "leave-one-out"):
        over, once = key(by, "overwrite"), key(by, "mask once")
        pairs |= {f"overwrite - mask, {by}": (over, once), f"overwrite - kept, {by}": (over, key("nothing", "keep"))}
    pairs |= {f"{by} - {name}": (way, {"by": name}) for by, way in ways.items() for name in CONTROLS}
    for by in ("stored", "head"):
        way = key(by, "mask once", BOLD)
        pairs |= {f"bold, {by} - {name}": (way, {"by": name}) for name in ("threshold 0.5", "threshold 0.9")}
    return {name: compared(rows, a, b) for name, (a, b) in pairs.items()}


def lines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for row in rows:
        mine = select(rows, **{name: row[name] for name in ("draft", "by", "how", "k", "refill")})
        name = f"{row['draft']}, {row['by']}, {row['how']}, {row['refill']}, k {row['k']}"
        found[f"{name}, right"] = 100 * sum(r["correct"].count("1") / len(r["correct"]) for r in mine) / len(mine)
        found[f"{name}, read"] = sum(r["read"] for r in mine) / len(mine)
    found |= {f"{name}, read": control(name)["nfe"] for name in CONTROLS}
    return found | headlines("revised", gains(rows))


REVISED = Table(
    "13_revised",
    settings,
    run,
    live=(
        {"draft": HASTY, "by": "stored", "how": "mask", "k": K, "refill": 2, "seed": None},
        {"draft": HASTY, "by": "re-evaluated", "how": "overwrite", "k": K, "refill": 1, "seed": None},
    ),
    size=12,
    tolerance={"read": (1.0, 0.5), "calls": (1.0, 0.5), "changed": (2.0, 0.5)},
    headlines=lines,
)
