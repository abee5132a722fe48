"""Notebook 03: the sinks of two published models, and what becomes of a text without one.

Rows of `03_wild.json`, lists over layers of lists over heads where they are about heads:
* SmolLM2, `attention`: on windows of 64 tokens (Gu et al.), `to first`: what queries from `LATE` on give to the first
  token, `to second` likewise; lengths of the hidden states (`length first`, `length others`, a median) and of the
  values (`value first`, over the mean of the others).
* SmolLM2, a change: `nats` of the tokens that queries from `LATE` on predict, one mean a window. `hide late`: those
  queries do not see the key; `hide all`: no query but its own does; `empty`, `mean`: what it says is nothing, or the
  same in all windows (`mean deep`: from layer `DEEP` on). Of `first` and, on prose, of a control, `other`: a position
  before `LATE`, drawn for each window.
* MiniLM, `masked P`: P % of the tokens between the marks are masked; `to cls`, `to sep`, and `to other`, the mean of
  the other positions.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from dlmlab.attention import sinks, values, wild
from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.paths import DATA, checkout

LENGTH, MAP_LENGTH, LATE = 32, 64, 16
DEEP = 3  # the first layer in which the first token is a sink
WINDOWS = {"prose": 128, "licence": 32}
MAPS, ENCODED, SEEDS = 32, 64, (0, 1, 2)
MASKED = (0, 30, 60, 90)
BATCH = 16
CHANGES = ("hide late first", "hide all first", "empty first", "mean first", "mean deep first")
CONTROLS = ("hide late other", "empty other", "mean other")


def written(name: str) -> str:
    """Read a text that comes with the course: prose of its own pages as they once were, or the licence of its code.

    Raises `ValueError` for the licence where the course is an installed copy.
    """
    path = DATA / "wild" / "prose.txt" if name == "prose" else checkout() / "LICENSE"
    return path.read_text(encoding="utf-8")


guest = cache(wild.load)


# ------------------------------------------------------------------------------------------------ where attention goes


@torch.inference_mode()
def attention(model, ids: Tensor) -> dict:
    """Measure the first token of windows (B, L): the attention it gets, its hidden states, its values."""
    maps, late = sinks.attention_maps(model, ids), torch.arange(ids.shape[1]) >= LATE
    late, at = late.expand(ids.shape), torch.arange(ids.shape[1]).expand(ids.shape)
    spoken: list[Tensor] = []
    with values.through(model, spoken.append):
        states = torch.stack(model(input_ids=ids, output_hidden_states=True).hidden_states).norm(dim=-1)  # (N+1, B, L)
    norms = torch.stack(spoken).unflatten(-1, (-1, model.config.head_dim)).norm(dim=-1)  # (N, B, L, H_kv)
    return {
        "to first": rounded(sinks.given(maps, late, at == 0)),
        "to second": rounded(sinks.given(maps, late, at == 1)),
        "length first": rounded(states[..., 0].mean(1)),
        "length others": rounded(states[..., 1:].flatten(1).median(1).values),
        "value first": rounded(norms[:, :, 0].mean(1) / norms[:, :, 1:].mean((1, 2))),
    }


def rounded(x: Tensor) -> list:
    """Round for a table, to four digits that count."""
    if x.ndim > 1:
        return [rounded(row) for row in x]
    return [float(f"{value:.4g}") for value in x.tolist()]


def encoder(model, tokenizer, words: Tensor, share: float, *, seed: int) -> dict:
    """Measure to whom an encoder's queries look when a share of the words (B, L) is masked, head by head."""
    B, L = words.shape
    order = torch.rand(B, L, generator=torch.Generator().manual_seed(seed)).argsort(-1).argsort(-1)
    masked = torch.where(order < round(share * L), tokenizer.mask_token_id, words)
    marks = [torch.full((B, 1), id) for id in (tokenizer.cls_token_id, tokenizer.sep_token_id)]
    ids = torch.cat([marks[0], masked, marks[1]], 1)
    maps, at = sinks.attention_maps(model, ids), torch.arange(L + 2).expand(B, -1)
    inside = (at > 0) & (at <= L)
    keys = {"to cls": at == 0, "to sep": at == L + 1, "to other": inside}
    found = {name: sinks.given(maps, inside, key) for name, key in keys.items()}
    return {name: rounded(value / (L if name == "to other" else 1)) for name, value in found.items()}


# ------------------------------------------------------------------------------------------------ what it is needed for


def changed(model, ids: Tensor, change: str, *, seed: int) -> Tensor:
    """Average the loss of late tokens under a change, in nats, (B,). Raises `ValueError` for an unknown change."""
    *how, what = change.split()
    draw = torch.randint(1, LATE, (len(ids),), generator=torch.Generator().manual_seed(seed))
    at = torch.zeros_like(draw) if what == "first" else draw
    keys = torch.arange(ids.shape[1]) == at[:, None]  # (B, L)
    if how == ["hide", "late"]:
        return nats(model, ids, mask=wild.hidden(ids, keys, late=LATE))
    if how == ["hide", "all"]:
        return nats(model, ids, mask=wild.hidden(ids, keys))
    if how == ["empty"]:
        return nats(model, ids, keys=keys, says=[torch.tensor(0.0)] * model.config.num_hidden_layers)
    if how[0] == "mean":
        early = DEEP if how[1:] == ["deep"] else 0
        return nats(model, ids, keys=keys, says=[None] * early + means(model, ids, at)[early:])
    raise ValueError(f"change={change!r} is unknown; known: {', '.join(CHANGES + CONTROLS)}")


@torch.inference_mode()
def means(model, ids: Tensor, at: Tensor) -> list[Tensor]:
    """Average the values of one position of each window, over all windows, layer by layer, (width,) each."""
    found: list[Tensor] = []
    for some in torch.arange(len(ids)).split(BATCH):
        spoken: list[Tensor] = []
        with values.through(model, spoken.append):
            model(input_ids=ids[some, : int(at.max()) + 1], logits_to_keep=1, use_cache=False)
        rows = torch.arange(len(some))
        found.append(torch.stack([v[rows, at[some]] for v in spoken], 1))  # (b, N, width)
    return list(torch.cat(found).mean(0))


def nats(model, ids: Tensor, *, mask: Tensor | None = None, keys: Tensor | None = None, says: Sequence = ()) -> Tensor:
    """Average the loss of late tokens, (B,), a few windows at a time.

    `says`: of each layer what takes the place of the values of `keys` (B, L) bool: (width,), a number, or None for
    what they are.
    """
    found = []
    for some in torch.arange(len(ids)).split(BATCH):
        layers, few = iter(says), None if mask is None else mask[some]

        def change(v: Tensor, some=some, layers=layers) -> Tensor | None:
            new = next(layers, None)
            return None if new is None else torch.where(keys[some][..., None], new, v)

        found.append(wild.late_nats(model, ids[some], late=LATE, mask=few, change=change))
    return torch.cat(found)


# ------------------------------------------------------------------------------------------------ the table


def settings() -> list[dict]:
    """List the rows: where attention goes, then every change with its controls, then the encoder."""
    rows = [("smollm2", name, "attention", 0) for name in WINDOWS]
    rows += [("smollm2", name, change, 0) for name in WINDOWS for change in ("nothing", *CHANGES)]
    rows += [("smollm2", "prose", change, seed) for change in CONTROLS for seed in SEEDS]
    rows += [("minilm", "prose", "masked 0", 0)]
    rows += [("minilm", "prose", f"masked {share}", seed) for share in MASKED[1:] for seed in SEEDS]
    return [dict(zip(("model", "text", "change", "seed"), row, strict=True)) for row in rows]


def measure(model: str, text: str, change: str, seed: int, size: int | None = None) -> dict:
    """Measure one row; given a `size`, of the first so many windows. Raises `ValueError` when packages are missing."""
    network, tokenizer = guest(model)
    kind, _, share = change.partition(" ")
    if kind == "masked":
        words = wild.windows(tokenizer, written(text), length=MAP_LENGTH - 2, most=ENCODED)
        return encoder(network, tokenizer, words, int(share) / 100, seed=seed)
    if kind == "attention":
        return attention(network, wild.windows(tokenizer, written(text), length=MAP_LENGTH, most=MAPS))
    ids = wild.windows(tokenizer, written(text), length=LENGTH, most=WINDOWS[text])[:size]
    found = nats(network, ids) if change == "nothing" else changed(network, ids, change, seed=seed)
    return {"nats": rounded(found)}


def cost(rows: list[dict], text: str, change: str) -> Difference:
    """Say what a change costs SmolLM2 on a text, in nats a token, over windows and, of a control, its seeds."""
    (plain,) = (row for row in select(rows, model="smollm2", text=text, change="nothing"))
    twins = [plain | {"seed": seed} for seed in SEEDS]  # nothing is drawn where nothing is changed
    return of_rows(
        select(rows, model="smollm2", text=text, change=change) + twins, {"change": change}, {"change": "nothing"}
    )


def headlines(rows: list[dict]) -> dict[str, float]:
    """Give the numbers that pages quote: costs on prose, and the share that goes to the first token or to [CLS]."""
    found = {change: cost(rows, "prose", change).mean for change in CHANGES + CONTROLS}
    (seen,) = select(rows, text="prose", change="attention")
    found["to first"] = float(torch.tensor(seen["to first"]).mean())
    for share in MASKED:
        heads = torch.tensor([row["to cls"] for row in select(rows, change=f"masked {share}")])
        found[f"to cls {share}"] = float(heads.mean())
    return found


WILD = Table(
    "03_wild",
    settings,
    measure,
    live=(
        {"model": "smollm2", "text": "prose", "change": "nothing", "seed": 0},
        {"model": "smollm2", "text": "prose", "change": "hide late first", "seed": 0},
        {"model": "minilm", "text": "prose", "change": "masked 90", "seed": 0},
    ),
    size=8,
    tolerance={"nats": (0.01, 0.01)} | {name: (0.005, 0.02) for name in ("to cls", "to sep", "to other")},
    headlines=headlines,
    missing=wild.missing,
)
