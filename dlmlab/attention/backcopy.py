"""Attention sinks in a bottle: a language and small models in which they grow within seconds, with both objectives.

Decisions
* The language is Unigram-Backcopy: symbols are drawn independently, some of them are triggers, and after a trigger
  comes the symbol before it. At triggers attention has work; everywhere else there is nothing to find, so a head there
  is idle by construction and must still give its attention to something.
* The causal bottle has one layer and one head. A start mark stands in front: the only token without content.
* The diffusion bottle has two layers, because a mask must first find out that a trigger is beside it and then fetch
  the symbol from the trigger's other side; and two heads, so that one may be idle. No start mark: the only tokens
  without content are the masks themselves. Triggers are never masked, so a mask beside one always has work.
* Everything is the course's own model, one unit wide in the feed-forward layer: attention has to do the work.
* `Recipe` names what is trained. `VARIANTS` change one thing of the diffusion bottle each.

Source: Guo et al., Active-Dormant Attention Heads, arXiv 2410.13835, section 2: their Bigram-Backcopy has a table of
pairs in place of independent symbols, and a causal model only. Independent symbols, the diffusion bottle and its
variants are ours.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.noise import forward_process, low_discrepancy_times

SYMBOLS, TRIGGERS, RATE = 64, 3, 0.1  # the first TRIGGERS symbols are triggers, each drawn at this rate
START, MASK, END = SYMBOLS, SYMBOLS + 1, SYMBOLS + 2  # ids after those of the symbols


def draw(B: int, L: int, *, rate: float = RATE, generator: torch.Generator) -> Tensor:
    """Draw B texts of L symbols, (B, L). The first is ordinary, so no trigger follows a trigger."""
    ordinary = torch.randint(TRIGGERS, SYMBOLS, (B, L), generator=generator)
    trigger = torch.randint(TRIGGERS, (B, L), generator=generator)
    x = torch.where(torch.rand(B, L, generator=generator) < TRIGGERS * rate, trigger, ordinary)
    x[:, 0] = ordinary[:, 0]
    for i in range(2, L):
        x[:, i] = torch.where(x[:, i - 1] < TRIGGERS, x[:, i - 2], x[:, i])
    return x


@dataclass(frozen=True)
class Recipe:
    """What is trained: the model, its texts, and what is forced upon it.

    `start`: a start mark in front of the `length` symbols. `padded`: texts end early and end marks follow. `force`:
    "hidden masks" (no other query may attend to a mask), "long masks" (the value of a mask is stretched to the length
    of the others' values), "empty start" (the start mark's value is zero: an extra learned key), or nothing.
    """

    attention: str
    layers: int
    heads: int
    length: int
    steps: int
    rows: int
    start: bool
    padded: bool = False
    force: str = ""
    width: int = 64

    def texts(self, B: int, *, generator: torch.Generator) -> Tensor:
        """Draw B texts, (B, length) or one longer with the start mark; a padded one keeps half of its symbols at
        least."""
        x = draw(B, self.length, generator=generator)
        if self.padded:
            ends = torch.randint(self.length // 2, self.length + 1, (B, 1), generator=generator)
            x = torch.where(torch.arange(self.length) < ends, x, END)
        return F.pad(x, (1, 0), value=START) if self.start else x

    def build(self, seed: int) -> LLaDAModelLM:
        """Make the untrained model."""
        config = LLaDAConfig(
            d_model=self.width,
            n_heads=self.heads,
            n_layers=self.layers,
            mlp_hidden_size=1,
            vocab_size=SYMBOLS + 3,
            max_sequence_length=self.length + 1,
            attention=self.attention,
            mask_token_id=MASK,
            bos_token_id=START,
            eos_token_id=END,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Forced(config, self.force) if self.force else LLaDAModelLM(config)


CAUSAL = Recipe("causal", layers=1, heads=1, length=64, steps=800, rows=32, start=True)
DIFFUSION = Recipe("full", layers=2, heads=2, length=32, steps=3000, rows=64, start=False)


class Forced(LLaDAModelLM):
    pass


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


def train(recipe: Recipe, *, seed: int, say=lambda step, model, loss: None) -> LLaDAModelLM:
    """Train with AdamW (lr 3e-3, no weight decay); after every step `say` is told its number, the model and its
    loss."""
    generator = torch.Generator().manual_seed(seed)
    model = recipe.build(seed).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for step in range(1, recipe.steps + 1):
        value = loss(model, recipe.texts(recipe.rows, generator=generator), generator=generator)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        say(step, model, float(value.detach()))
    return model.eval()
