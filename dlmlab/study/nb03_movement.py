"""Notebook 03: which heads have sinks, and whether these move, head by head.

A row of `03_movement.json` is one problem read by one model from one source. Its columns are lists over the heads,
layer 0 head 0 first:
* `has`: share of states in which some position passes the rule of Rulli et al. (`sinks.stands_out`).
* `kind`: what the strongest receiver most often is, an index of `trajectories.KINDS`.
* `stays`: share of states whose strongest receiver is that of the state before.
* `centroid`: variance over states of the sinks' mean position over the length squared, and `null`, the same when the
  positions of every state are shuffled; NaN for fewer than two states with a sink.
`mean` is how many sinks pass when the heads are averaged first, a layer; `states` how many states there are.
"""

from functools import cache

import torch
from torch import Tensor

from dlmlab.attention import sinks
from dlmlab.attention.trajectories import KINDS, Trajectory, denoising, generation, renoising, token_kinds
from dlmlab.measure.difference import between
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.objective.noise import forward_process
from dlmlab.study.stand_in import load
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt, encode_rows, encode_texts
from dlmlab.task.tokenizer import build_tokenizer

MOVED, LEVEL, DRAWS, SEEDS, SHUFFLES = 24, 0.5, 10, (0, 1, 2), 10
TEXTS, LENGTH = 64, 64


def texts(split: str = "validation") -> Tensor:
    """Cut the problems that are long enough to `LENGTH` tokens, the first `TEXTS` of them, (TEXTS, LENGTH)."""
    encoded = encode_texts(build_tokenizer(), tasks.load_split(split))
    return torch.tensor([text[:LENGTH] for text in encoded if len(text) >= LENGTH][:TEXTS])


def masked(model, x0: Tensor, share: float, *, seed: int = 0) -> Tensor:
    """Mask a share of the tokens, whichever, (B, L)."""
    generator = torch.Generator().manual_seed(seed)
    return forward_process(x0, torch.full((len(x0),), share), model.config.mask_token_id, generator=generator)[0]


def heads(model, ids: Tensor) -> Tensor:
    """Give what every key receives in fair shares, head by head and without the causal triangle, (N, B, H, K)."""
    causal = model.config.attention == "causal"
    return sinks.lift(sinks.attention_maps(model, ids), causal=True) if causal else sinks.received(model, ids)


# ------------------------------------------------------------------------------------------------ movement


@cache
def states(name: str, index: int, of: str, seed: int) -> Trajectory:
    """Make the states of one validation problem: as decoded (`denoised`, `written`), or its solution masked at `LEVEL`
    ten times anew (`one level`, the noise floor).

    Of a causal run the first half of the question is kept, which many queries see, over uniform attention.
    """
    model, tokenizer = load(name)
    problem = tasks.load_split("validation")[index]
    prompt = encode_prompt(tokenizer, problem.question)
    if of == "denoised":
        return denoising(model, prompt)
    if of == "written":
        run, P = generation(model, prompt), len(prompt)
        uniform = torch.stack([sinks.uniform_sums(P + s, causal=True)[:P] for s in range(len(run.ids))])  # (S, P)
        lift, half = run.sums[..., :P] / uniform[:, None, None], P // 2
        return Trajectory(run.ids[:, :half], lift[..., :half], run.visible[:, :half])
    rows = encode_rows(tokenizer, [problem], side="left")
    generator = torch.Generator().manual_seed(seed)
    (floor,) = renoising(model, rows.x0[0], [LEVEL], draws=DRAWS, maskable=rows.answer[0], generator=generator)
    return floor


def spread(m: Tensor, marks: Tensor) -> Tensor:
    """Estimate the variance over states of the marked positions' mean over the squared length, without bias, so that
    runs of unequal length compare; NaN where fewer than two states have a mark.

    Shapes: m (S, ..., L), marks (S, ..., L) bool -> (...).
    """
    weight, at = m * marks, torch.arange(m.shape[-1], dtype=m.dtype)
    c = (weight * at).sum(-1) / weight.sum(-1)  # NaN without a mark
    seen, n = ~c.isnan(), (~c.isnan()).sum(0)
    off = torch.where(seen, c - c.nanmean(0), 0.0)
    return torch.where(n > 1, off.square().sum(0) / (n - 1), torch.nan) / m.shape[-1] ** 2


def shuffled(m: Tensor, marks: Tensor, *, generator: torch.Generator) -> Tensor:
    """Read `spread` when sinks are as strong and as many in every state but sit anywhere, averaged over shuffles."""
    found = []
    for _ in range(SHUFFLES):
        order = torch.rand(m.shape, generator=generator).argsort(-1)
        found.append(spread(m.gather(-1, order), marks.gather(-1, order)))
    return torch.stack(found).mean(0)


def movement(problem: int, model: str, source: str, seed: int, size: int | None = None) -> dict:
    """Measure one row of the table."""
    run = states(model, problem, source, seed)
    _, tokenizer = load(model)
    m = run.sums.flatten(1, 2)  # (S, N * H, L)
    marks, top, S = sinks.stands_out(m), m.argmax(-1), len(m)
    kinds = token_kinds(run.ids, tokenizer)[:, None].expand(m.shape).gather(-1, top[..., None])[..., 0]
    row = {
        "has": marks.any(-1).float().mean(0),
        "stays": (top[1:] == top[:-1]).float().mean(0) if S > 1 else torch.full(m.shape[1:2], torch.nan),
        "centroid": spread(m, marks),
        "null": shuffled(m, marks, generator=torch.Generator().manual_seed(seed)),
        "mean": sinks.stands_out(run.sums.mean(2)).sum(-1).float().mean(0),
    }
    found = {key: [round(value, 4) for value in values.tolist()] for key, values in row.items()}
    return found | {"kind": kinds.mode(0).values.tolist(), "states": S}


def by_head(rows: list[dict], source: str, key: str) -> Tensor:
    """Collect a column of the table, averaged over seeds where there are several, (problems, heads) float64."""
    found: dict[int, list[Tensor]] = {}
    for row in select(rows, source=source):
        found.setdefault(row["problem"], []).append(torch.tensor(row[key], dtype=torch.float64))
    return torch.stack([torch.stack(values).nanmean(0) for _, values in sorted(found.items())])


def usual_kind(rows: list[dict], source: str, head: int) -> str:
    """Name the kind of token that a head's strongest receiver most often is, over the problems."""
    kinds = [row["kind"][head] for row in select(rows, source=source)]
    return KINDS[max(sorted(set(kinds)), key=kinds.count)]


def words(rows: list[dict]) -> dict[int, tuple[str, str]]:
    """Say of every head with a sink in at least half of the states whether its sinks move, as words of `Difference`
    between the centroid variance while decoding and that of the floor, and of shuffled positions."""
    has, spread, null = (by_head(rows, "denoised", key) for key in ("has", "centroid", "null"))
    floor, found = by_head(rows, "one level", "centroid"), {}
    for head in (has.mean(0) >= 0.5).nonzero()[:, 0].tolist():
        both = ~(spread + floor + null)[:, head].isnan()
        mine, *others = (values[both, head].tolist() for values in (spread, floor, null))
        found[head] = tuple(between(mine, other).word for other in others)
    return found


def headlines(rows: list[dict]) -> dict[str, float]:
    """Count the heads of which pages speak."""
    found = words(rows)
    return {
        "heads": float(len(found)),
        "above the floor": float(sum(w[0] == "higher" for w in found.values())),
        "below shuffled": float(sum(w[1] == "lower" for w in found.values())),
        "at masks": float(sum(usual_kind(rows, "denoised", head) == "mask" for head in found)),
        "of the twin": float((by_head(rows, "written", "has").mean(0) >= 0.5).sum()),
    }


SOURCES = {"llada-mini": ("denoised", "one level"), "llama-mini": ("written",)}
SMALL = (0.002, 0.05)  # a variance of positions

MOVEMENT = Table(
    "03_movement",
    lambda: [
        {"problem": i, "model": model, "source": source, "seed": seed}
        for model, of_model in SOURCES.items()
        for i in range(MOVED)
        for source in of_model
        for seed in (SEEDS if source == "one level" else (0,))
    ],
    movement,
    live=[
        {"problem": 0, "model": model, "source": source, "seed": 0}
        for model, of_model in SOURCES.items()
        for source in of_model
    ],
    tolerance={"centroid": SMALL, "null": SMALL} | dict.fromkeys(("has", "stays", "mean"), (0.15, 0.1)),
    headlines=headlines,
)
