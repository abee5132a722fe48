"""Attention sinks in a bottle: a language and small models in which they grow within seconds, with both objectives.

Decisions
* The language is Unigram-Backcopy: symbols are drawn independently, some of them are triggers, and after a trigger
  comes the symbol before it. At triggers attention has work; everywhere else there is nothing to find, so a head there
  is idle by construction and must still give its attention to something.
* The causal bottle has one layer and one head. A start mark stands in front. A trigger is never copied either, so it
  may serve as a parking place as well as the start mark does: of ten seeds in table 03_bottles one takes triggers.
* The diffusion bottle has two layers, because a mask must first find out that a trigger is beside it and then fetch
  the symbol from the trigger's other side; and two heads, so that one may be idle. No start mark: the only tokens
  without content are the masks themselves. Not every seed parks there, and with larger first weights none of three.
  Triggers are never masked, so a mask beside one always has work.
* Everything is the course's own model, one unit wide in the feed-forward layer: attention has to do the work.
* `RECIPES` holds both, the diffusion bottle after a third of its steps (`short`), and variants of that which change
  one thing each: what would a sink be made of if not of this?

Source: Guo et al., Active-Dormant Attention Heads, arXiv 2410.13835, section 2: their Bigram-Backcopy has a table of
pairs in place of independent symbols, and a causal model only. Independent symbols, the diffusion bottle and its
variants are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from dlmlab.network import parts
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.noise import forward_process, low_discrepancy_times
from dlmlab.paths import DATA

SYMBOLS, TRIGGERS = 64, 3  # the first TRIGGERS symbols are triggers
START, MASK, END = SYMBOLS, SYMBOLS + 1, SYMBOLS + 2  # ids after those of the symbols
FORCES = ("", "hidden masks", "empty start")


def draw(B: int, L: int, *, rate: float, generator: torch.Generator) -> Tensor:
    """Draw B texts of L symbols, (B, L), each trigger at this rate.

    The first symbol is ordinary, so no trigger follows a trigger. Raises `ValueError` for a rate outside [0, 1/3].
    """
    if not 0 <= rate * TRIGGERS <= 1:
        raise ValueError(f"rate={rate} of each trigger must lie in [0, 1/{TRIGGERS}]")
    ordinary = torch.randint(TRIGGERS, SYMBOLS, (B, L), generator=generator)
    trigger = torch.randint(TRIGGERS, (B, L), generator=generator)
    x = torch.where(torch.rand(B, L, generator=generator) < TRIGGERS * rate, trigger, ordinary)
    x[:, 0] = ordinary[:, 0]
    for i in range(2, L):
        x[:, i] = torch.where(x[:, i - 1] < TRIGGERS, x[:, i - 2], x[:, i])
    return x


def words(ids: Tensor) -> list[str]:
    """Name the tokens of one text, (L,): `^` the start mark, `▢` a mask, `T0` a trigger, `17` an ordinary symbol.

    >>> " ".join(words(torch.tensor([START, 40, 1, 40, MASK])))
    '^ 40 T1 40 ▢'
    """
    marks = {START: "^", MASK: "▢", END: "·"}
    return [marks.get(id, f"T{id}" if id < TRIGGERS else str(id)) for id in ids.tolist()]


@dataclass(frozen=True)
class Recipe:
    """What is trained: the model, its texts, and what is forced upon it.

    `start`: a start mark in front of the `length` symbols. `force`: "hidden masks" (no other query may attend to a
    mask), "empty start" (the value of the start mark is zero: an extra learned key), or nothing. `init`: standard
    deviation of the first weights.
    """

    attention: str
    layers: int
    heads: int
    length: int
    rate: float
    steps: int
    rows: int
    lr: float
    init: float
    start: bool
    force: str = ""

    def texts(self, B: int, *, generator: torch.Generator) -> Tensor:
        """Draw B texts, (B, length), one longer with a start mark."""
        x = draw(B, self.length, rate=self.rate, generator=generator)
        return F.pad(x, (1, 0), value=START) if self.start else x

    def build(self, seed: int) -> LLaDAModelLM:
        """Make the untrained model. Raises `ValueError` for an unknown force."""
        config = LLaDAConfig(
            d_model=64,
            n_heads=self.heads,
            n_layers=self.layers,
            mlp_hidden_size=1,
            vocab_size=SYMBOLS + 3,
            max_sequence_length=self.length + 1,
            attention=self.attention,
            mask_token_id=MASK,
            bos_token_id=START,
            eos_token_id=END,
            init_std=self.init,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Forced(config, self.force) if self.force else LLaDAModelLM(config)


CAUSAL = Recipe("causal", 1, 1, length=64, rate=0.05, steps=800, rows=32, lr=3e-3, init=0.1, start=True)
DIFFUSION = Recipe("full", 2, 2, length=32, rate=0.1, steps=3000, rows=64, lr=3e-3, init=0.02, start=False)
SHORT = replace(DIFFUSION, steps=1000)
RECIPES = {
    "causal": CAUSAL,
    "diffusion": DIFFUSION,
    "short": SHORT,
    "large start values": replace(SHORT, init=0.1),
    "extra key": replace(SHORT, start=True, force="empty start"),
    "hidden masks": replace(SHORT, force="hidden masks"),
    "start mark": replace(SHORT, start=True),
    "one head": replace(SHORT, heads=1),
}


class Forced(LLaDAModelLM):
    """A model that is trained and read under one of `FORCES`, without a cache."""

    def __init__(self, config: LLaDAConfig, force: str):
        if force not in FORCES:
            raise ValueError(f"force={force!r} is unknown; known: {', '.join(map(repr, FORCES))}")
        super().__init__(config)
        self.force, self.ids = force, None
        for block in parts.blocks(self):
            getattr(block, parts.VALUE).register_forward_hook(lambda module, args, out: self.value(out))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **options):
        self.ids = input_ids  # the values need them
        if self.force == "hidden masks":
            seen = input_ids != MASK
            attention_mask = seen if attention_mask is None else seen & attention_mask.bool()
        return super().forward(input_ids, attention_mask, **options)

    def value(self, v: Tensor) -> Tensor:
        """Make the values of a layer, (B, L, D), what the force wants them to be."""
        return v.masked_fill((self.ids == START)[..., None], 0.0) if self.force == "empty start" else v


def maskable(x0: Tensor) -> Tensor:
    """Mark what may be masked, (B, L) bool: everything but triggers and the start mark."""
    return (x0 >= TRIGGERS) & (x0 != START)


def loss(model: LLaDAModelLM, x0: Tensor, *, generator: torch.Generator) -> Tensor:
    """Mean cross-entropy in nats: of the next symbols (`causal`), or of symbols masked at random times (`full`)."""
    if model.config.attention == "causal":
        return F.cross_entropy(model(x0[:, :-1]).logits.flatten(0, 1), x0[:, 1:].flatten())
    t = low_discrepancy_times(len(x0), generator=generator)
    xt, masked = forward_process(x0, t, MASK, maskable=maskable(x0), generator=generator)
    return F.cross_entropy(model(xt).logits[masked], x0[masked])


def train(recipe: Recipe, *, seed: int, watch: Callable[[int, LLaDAModelLM, float], None] | None = None):
    """Train with AdamW without weight decay and return the model; after each step `watch` gets its number, the model
    and the loss."""
    generator = torch.Generator().manual_seed(seed)
    model = recipe.build(seed).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=0.0)
    for step in range(1, recipe.steps + 1):
        value = loss(model, recipe.texts(recipe.rows, generator=generator), generator=generator)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        if watch is not None:
            watch(step, model, float(value.detach()))
    return model.eval()


def shipped() -> LLaDAModelLM:
    """Read the diffusion bottle that comes with the course: recipe `diffusion`, seed 0."""
    model = DIFFUSION.build(0)
    model.load_state_dict(load_file(DATA / "bottles" / "diffusion.safetensors"))
    return model.eval()


def causal(seed: int, *, steps: int = CAUSAL.steps) -> LLaDAModelLM:
    """Train the causal bottle, in about ten seconds."""
    return train(replace(CAUSAL, steps=steps), seed=seed)


def diffusion(seed: int, *, steps: int = DIFFUSION.steps) -> LLaDAModelLM:
    """Train the masked-diffusion bottle, in two or three minutes."""
    return train(replace(DIFFUSION, steps=steps), seed=seed)
