"""Notebook 03: what idle attention does in both bottles, over seeds, and what becomes of it when one thing changes.

A row of `03_bottles.json` is one trained bottle. Its columns, lists over layers of lists over heads where they are
about heads:
* `curve`: [step, mean loss, attention of each head of layer 0 from ordinary symbols to the token without content].
* `SHARE QUERY > KEY` and `... fair`: attention in a text of which SHARE is masked on average, as a mean and in fair
  shares (`sinks.fair_shares`); `SHARE any mask`: how many of these texts have a mask at all.
* `SHARE length KEY`: length of the values over that of ordinary symbols.
* `SHARE nats JOB` and `SHARE CHANGE JOB`: loss where attention is idle or at work, and what it gains by a change.
* `copies`: how often a copy is predicted right.
* `filling ...`: the head of layer 0 that gives masks most, while texts are filled in; see `filling`.
"""

import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from dlmlab.attention import backcopy, sinks
from dlmlab.attention.backcopy import MASK, RECIPES, START, SYMBOLS, TRIGGERS
from dlmlab.attention.interventions import empty_values, mean_values, without_keys
from dlmlab.attention.sinks import attention_maps
from dlmlab.attention.trajectories import denoising, value_norms
from dlmlab.measure.difference import Difference, between
from dlmlab.measure.store import measured, select
from dlmlab.measure.table import Table
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.noise import forward_process
from dlmlab.paths import DATA, to_write

SEEDS, VARIANT_SEEDS = 10, 3
VARIANTS = ("large start values", "extra key", "hidden masks", "start mark", "one head")
EVERY, SHARES = 100, (0.0, 0.02, 0.07, 0.37)
TEXTS, FILLED, EARLY = 256, 16, 8  # causal queries before EARLY see few keys and are left out
HOW = {"hide": without_keys, "empty": empty_values, "mean": mean_values}
KEPT = Path(tempfile.gettempdir()) / "dlmlab-bottles"


# ------------------------------------------------------------------------------------------------ texts


def masked_texts(x0: Tensor, share: float, *, generator: torch.Generator) -> Tensor:
    """Mask maskable tokens so that masks are this share of all tokens on average, (B, L)."""
    allowed = backcopy.maskable(x0)
    t = torch.full((len(x0),), share / float(allowed.float().mean()))
    return forward_process(x0, t, MASK, maskable=allowed, generator=generator)[0]


def kinds(xt: Tensor) -> dict[str, Tensor]:
    """Mark what stands where, (B, L) bool each."""
    return {
        "symbol": (xt >= TRIGGERS) & (xt < SYMBOLS),
        "trigger": xt < TRIGGERS,
        "mask": xt == MASK,
        "start": xt == START,
    }


def jobs(xt: Tensor, x0: Tensor, *, causal: bool) -> dict[str, Tensor]:
    """Mark the queries that predict a symbol, (B, L) bool each: `idle` where nothing in the text tells it, `work` where
    it is a copy. A mask beside a trigger whose other side shows no symbol is neither."""
    trigger, symbol = (kinds(xt)[kind] for kind in ("trigger", "symbol"))
    if causal:
        late = torch.arange(xt.shape[1]) >= EARLY
        return {"idle": symbol & late, "work": trigger & late}
    mask, beside, source = xt == MASK, torch.zeros_like(trigger), torch.zeros_like(trigger)
    beside[:, 1:] |= trigger[:, :-1]
    beside[:, :-1] |= trigger[:, 1:]
    source[:, 2:] |= trigger[:, 1:-1] & symbol[:, :-2]
    source[:, :-2] |= trigger[:, 1:-1] & symbol[:, 2:]
    return {"idle": mask & ~beside, "work": mask & source}


# ------------------------------------------------------------------------------------------------ where attention goes


def attention(model: LLaDAModelLM, xt: Tensor, x0: Tensor, *, few: bool = False) -> dict[str, list]:
    """Measure, head by head, whom ordinary symbols look at and, unless there are few masks, triggers, idle and working
    masks too."""
    causal, L = model.config.attention == "causal", xt.shape[1]
    maps, keys, late = attention_maps(model, xt), kinds(xt), torch.arange(L) >= (EARLY if causal else 0)
    queries = {kind: keys[kind] & late for kind in ("symbol", "trigger")}
    if not causal:
        queries |= {f"{job} mask": here for job, here in jobs(xt, x0, causal=False).items()}
    if few:
        queries = {"symbol": queries["symbol"]}
    offset = torch.arange(L) - torch.arange(L)[:, None]  # key - query
    places = {"left": offset == -1} if causal else {"beside": offset.abs() == 1, "across": offset.abs() == 2}
    keys |= {name: at.expand(len(xt), L, L) for name, at in ({"itself": offset == 0} | places).items()}
    found = {}
    for query, here in queries.items():
        for key, there in keys.items():
            if bool(here.any()) and bool(there.any()):
                found[f"{query} > {key}"] = heads(sinks.given(maps, here, there))
        for key in ("start", "mask", "trigger"):
            fair = sinks.fair_shares(maps, here, keys[key], causal=causal)
            if not bool(fair.isnan().any()):
                found[f"{query} > {key} fair"] = heads(fair)
    return found


def heads(x: Tensor) -> list:
    """Round (N, H) for a table."""
    return [[round(value, 3) for value in layer] for layer in x.tolist()]


def lengths(model: LLaDAModelLM, xt: Tensor) -> dict[str, list]:
    """Measure the mean length of values of each kind, over that of ordinary symbols."""
    norms, marks = value_norms(model, xt), kinds(xt)  # (N, B, H, L)
    mean = {
        kind: torch.einsum("nbhl,bl->nh", norms, at.float()) / at.sum() for kind, at in marks.items() if bool(at.any())
    }
    return {f"length {kind}": heads(value / mean["symbol"]) for kind, value in mean.items() if kind != "symbol"}


# ------------------------------------------------------------------------------------------------ is it needed?


def drawn(pool: Tensor, count: Tensor, *, generator: torch.Generator) -> Tensor:
    """Draw count[b] positions of pool[b], or all when there are fewer; (B, L) bool."""
    order = torch.rand(pool.shape, generator=generator).masked_fill(~pool, 2.0).argsort(-1).argsort(-1)
    return pool & (order < count[:, None])


def changes(model, xt: Tensor, asked: Tensor, *, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """Name sets of keys, (B, L) bool, that something is done to, each followed by controls that take as many keys.

    The asked query is never among them. Controls are ordinary symbols; of a start mark, the second token, which as
    many queries see; of the mask that gets most attention, another mask.
    """
    marks = {kind: at & ~asked for kind, at in kinds(xt).items()}
    for kind in ("start", "trigger", "mask"):
        if bool(marks[kind].any()):
            yield kind, marks[kind]
            yield f"{kind}, control", drawn(marks["symbol"], marks[kind].sum(1), generator=generator)
    if bool(marks["start"].any()):
        yield "second", (torch.arange(xt.shape[1]) == 1) & ~asked
    if bool(marks["mask"].any()):
        mass = sinks.received(model, xt)[0].amax(1).masked_fill(~marks["mask"], -1.0)  # (B, L), strongest head
        top = F.one_hot(mass.argmax(1), xt.shape[1]).bool() & marks["mask"]
        yield "top mask", top
        one = top.sum(1)
        yield "top mask, other mask", drawn(marks["mask"] & ~top, one, generator=generator)
        yield "top mask, control", drawn(marks["symbol"], one, generator=generator)


def needs(model: LLaDAModelLM, xt: Tensor, x0: Tensor, *, generator: torch.Generator) -> dict[str, float]:
    """Measure the loss at idle and at working queries, and what it gains when keys are hidden, or values emptied or
    replaced by their mean.

    A causal model is asked at all its queries at once. Of a masked text one mask is asked, so that all others can be
    taken; texts without one of the kind are left out.
    """
    causal, found = model.config.attention == "causal", {}
    for job, here in jobs(xt, x0, causal=causal).items():
        rows = here.any(1).nonzero()[:, 0]
        if not len(rows):
            continue
        x, clean, at = xt[rows], x0[rows], here[rows]
        at = at if causal else drawn(at, torch.ones(len(rows)), generator=generator)
        asked = torch.zeros_like(at) if causal else at
        dense = float(losses(model, x, clean, at, causal=causal).mean())
        found[f"nats {job}"] = round(dense, 4)
        for name, keys in changes(model, x, asked, generator=generator):
            for how, change in HOW.items():
                changed = functools.partial(change, model, keys=keys)
                after = float(losses(changed, x, clean, at, causal=causal).mean())
                found[f"{how} {name} {job}"] = round(after - dense, 4)
    return found


@torch.inference_mode()
def losses(model: Callable, xt: Tensor, x0: Tensor, at: Tensor, *, causal: bool) -> Tensor:
    """Cross-entropy in nats of each of the n queries `at` (B, L), (n,): of the next symbol if causal, else of their
    own."""
    at, x0 = (at[:, :-1], x0[:, 1:]) if causal else (at, x0)
    logits = model(xt).logits
    return F.cross_entropy((logits[:, :-1] if causal else logits)[at], x0[at], reduction="none")


@torch.inference_mode()
def copies(model: LLaDAModelLM, xt: Tensor, x0: Tensor) -> float:
    """How often the symbol is right where a query has work."""
    causal = model.config.attention == "causal"
    at = jobs(xt, x0, causal=causal)["work"]
    logits = model(xt).logits
    at, x0, logits = (at[:, :-1], x0[:, 1:], logits[:, :-1]) if causal else (at, x0, logits)
    return round(float((logits[at].argmax(-1) == x0[at]).float().mean()), 4)


# ------------------------------------------------------------------------------------------------ while it decodes


def filling(model: LLaDAModelLM, x0: Tensor, *, head: int) -> dict[str, list]:
    """Fill every maskable position of the texts, one a forward, and follow one head of layer 0.

    By the number of masks left: `to masks`, the attention that visible ordinary symbols give to masks; `top is mask`,
    how often the position with most attention is a mask; `top stays`, how often it is the one of the state before,
    where that one is still masked. Each is a list of [masks left, mean], over the states that have a value.
    """
    found = {"to masks": [], "top is mask": [], "top stays": []}
    for row in torch.where(backcopy.maskable(x0), MASK, x0):
        ids = denoising(model, row.tolist(), gen_length=0).ids  # (S, L)
        maps, marks = attention_maps(model, ids)[:1, :, head : head + 1], kinds(ids)
        top, left = maps[0, :, 0].sum(1).argmax(-1), marks["mask"].sum(1).tolist()
        is_mask = marks["mask"].gather(1, top[:, None])[:, 0]
        for s, n in enumerate(left):
            if bool(marks["symbol"][s].any()):
                given = sinks.given(maps[:, s : s + 1], marks["symbol"][s : s + 1], marks["mask"][s : s + 1])
                found["to masks"].append((n, float(given)))
            found["top is mask"].append((n, float(is_mask[s])))
            if s and bool(is_mask[s - 1]) and bool(marks["mask"][s, top[s - 1]]):
                found["top stays"].append((n, float(top[s] == top[s - 1])))
    return {f"filling {name}": by_number(pairs) for name, pairs in found.items()}


def by_number(pairs: list[tuple[int, float]]) -> list[list]:
    """Average the values of each number, largest number first.

    >>> by_number([(1, 0.5), (2, 1.0), (1, 0.0)])
    [[2, 1.0], [1, 0.25]]
    """
    values = {n: [v for m, v in pairs if m == n] for n in sorted({n for n, _ in pairs}, reverse=True)}
    return [[n, round(sum(v) / len(v), 3)] for n, v in values.items()]


# ------------------------------------------------------------------------------------------------ the table


def trained(name: str, seed: int, folder: Path = KEPT) -> tuple[LLaDAModelLM, list]:
    """Train a bottle and its curve, or read what an earlier run left in the folder."""
    path = folder / f"{name}-{RECIPES[name].steps}-{seed}.pt".replace(" ", "-")
    if path.exists():
        kept, model = torch.load(path, weights_only=True), RECIPES[name].build(seed)
        model.load_state_dict(kept["weights"])
        return model.eval(), kept["curve"]
    model, curve = watched(RECIPES[name], seed)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": model.state_dict(), "curve": curve}, path)
    return model, curve


def watched(recipe: backcopy.Recipe, seed: int) -> tuple[LLaDAModelLM, list]:
    """Train a bottle and return it with its curve."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    xt = recipe.texts(64, generator=generator)
    xt = xt if recipe.attention == "causal" else masked_texts(xt, 0.07, generator=generator)
    symbol, empty = kinds(xt)["symbol"], kinds(xt)["start" if recipe.attention == "causal" else "mask"]
    curve, losses = [], []

    def watch(step: int, model: LLaDAModelLM, loss: float) -> None:
        losses.append(loss)
        if step % EVERY == 0 or step == 1:
            given = sinks.given(attention_maps(model.eval(), xt), symbol, empty)[0]
            mean = sum(losses[-EVERY:]) / len(losses[-EVERY:])
            curve.append([step, round(mean, 4), [round(x, 4) for x in given.tolist()]])
            model.train()

    return backcopy.train(recipe, seed=seed, watch=watch), curve


def judge(model: LLaDAModelLM, recipe: backcopy.Recipe, *, seed: int, texts: int = TEXTS) -> dict:
    """Measure a trained bottle on fresh texts: a row of the table, apart from its key and curve."""
    generator = torch.Generator().manual_seed(20_000 + seed)
    x0, found = recipe.texts(texts, generator=generator), {}
    for share in (0.0,) if recipe.attention == "causal" else SHARES:
        xt, few = masked_texts(x0, share, generator=generator), recipe.attention != "causal" and share < 0.07
        part = attention(model, xt, x0, few=few) | lengths(model, xt)
        if not few:
            part |= needs(model, xt, x0, generator=generator) | {"copies": copies(model, xt, x0)}
        part["any mask"] = round(float((xt == MASK).any(1).float().mean()), 4)
        found |= {f"{share:g} {key}": value for key, value in part.items()}
    if recipe.attention == "causal":
        return found
    to_masks = found["0.07 symbol > mask"][0]
    return found | filling(model, x0[:FILLED], head=to_masks.index(max(to_masks)))


def settings() -> list[dict]:
    """List the rows of the table: both bottles, the second also after a third of its steps, then its variants."""
    counts = {"causal": SEEDS, "short": SEEDS, "diffusion": SEEDS} | dict.fromkeys(VARIANTS, VARIANT_SEEDS)
    return [{"bottle": name, "seed": seed} for name, count in counts.items() for seed in range(count)]


def measure(bottle: str, seed: int, size: int | None = None) -> dict:
    """Train and measure one bottle; given a `size`, only its curve of so many steps."""
    if size is not None:
        return {"curve": watched(replace(RECIPES[bottle], steps=size), seed)[1]}
    model, curve = trained(bottle, seed)
    return judge(model, RECIPES[bottle], seed=seed) | {"curve": curve}


def cost(rows: list[dict], bottle: str, change: str) -> Difference:
    """Say what a column of changes, such as "0.37 mean mask idle", costs a bottle in nats a symbol, over its seeds."""
    values = [row[change] for row in select(rows, bottle=bottle) if change in row]
    if len(set(values)) == 1:  # costs, not verdicts: ten equal ones leave nothing open
        return Difference(values[0], values[0], values[0], tuple(values))
    found = between(values, [0.0] * len(values))
    return Difference(found.mean, found.low, found.high, tuple(values))


def headlines(rows: list[dict]) -> dict[str, float]:
    """Count the seeds of which pages speak."""

    def count(bottle: str, column: str, more_than: float) -> float:
        return float(sum(max(row[column][0]) > more_than for row in select(rows, bottle=bottle) if column in row))

    found = {"causal parked": count("causal", "0 symbol > start", 0.9)}
    found["causal long values"] = count("causal", "0 length start", 1.0)
    for bottle in ("short", "diffusion", *VARIANTS):
        if measured(rows, bottle=bottle):
            found[f"{bottle} seeds"] = float(len(select(rows, bottle=bottle)))
            found[f"{bottle} half"] = count(bottle, "0.07 symbol > mask", 0.5)
            found[f"{bottle} fair"] = count(bottle, "0.07 symbol > mask fair", 3.0)
            found[f"{bottle} start"] = count(bottle, "0.07 symbol > start", 0.5)
    return found


BOTTLES = Table(
    "03_bottles",
    settings,
    measure,
    live=({"bottle": "causal", "seed": 3}, {"bottle": "short", "seed": 0}),
    size=EVERY,
    tolerance={"curve": (0.001, 0.01)},
    headlines=headlines,
)


def ship() -> None:
    """Write the bottle that `backcopy.shipped` reads."""
    path = to_write(DATA / "bottles" / "diffusion.safetensors")
    path.parent.mkdir(exist_ok=True)
    save_file(trained("diffusion", 0)[0].state_dict(), path)
