"""Lab 17: the models that are to track a state, all of width 64, and how they are trained and asked.

All of them are shown every state in training (*aligned* supervision). What differs is what a state is computed from:

* `LSTM`: operations so far, through a non-linear recurrence.
* `positive`, `signed`: the same through a linear one, h <- a(x) h + b(x), with a in (0, 1) or in (-1, 1); two layers.
* `labels only`: a causal transformer that reads operations and never a state.
* `writer`: the same transformer, which reads the states it has written, one after the other.
* `LSTM writer`: the LSTM on the rows of the writer. In training both read true states; tested, their own.
* `MLP writer`: the same rows without attention and without memory: two tokens, the last state and the operation.
* `masked`: LLaDA's recipe. It reads operations and what is known of the states, from both sides; in training a random
  share is masked.

The transformers are `LLaDAModelLM`: two layers (or `layers`), four heads, RoPE. Equal steps for all, not equal epochs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.labs import lab17_groups as groups

WIDTH, BATCH, RATE = 64, 64, 3e-3
RECURRENT = ("LSTM", "positive", "signed", "LSTM writer")
WRITERS = ("writer", "LSTM writer", "MLP writer")


class Recurrent(nn.Module):
    """Operations, or woven rows, (N, L) to logits of the states (N, L, 6), through a recurrence."""

    def __init__(self, kind: str):
        super().__init__()
        known = groups.TOKENS if kind in WRITERS else groups.STATES
        self.embed, self.head = nn.Embedding(known, WIDTH), nn.Linear(WIDTH, groups.STATES)
        self.cells = (
            nn.LSTM(WIDTH, WIDTH, batch_first=True)
            if kind.startswith("LSTM")
            else nn.ModuleList(Decay(kind == "signed") for _ in range(2))
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        if isinstance(self.cells, nn.LSTM):
            return self.head(self.cells(h)[0])
        for cell in self.cells:
            h = h + cell(h)
        return self.head(h)


class Decay(nn.Module):
    """A layer with a linear recurrence, each channel by itself: h[t] = a(x[t]) h[t - 1] + b(x[t]), then a gated MLP."""

    def __init__(self, signed: bool):
        super().__init__()
        self.signed, self.norm = signed, nn.LayerNorm(WIDTH)
        self.decay, self.write = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        a, b = self.decay(x), self.write(x)
        a = a.tanh() if self.signed else a.sigmoid()
        h, found = torch.zeros_like(b[:, 0]), []
        for t in range(x.shape[1]):
            h = a[:, t] * h + b[:, t]
            found.append(h)
        return self.down(F.silu(self.up(torch.stack(found, 1))))


class Window(nn.Module):
    """Woven rows (N, T) to logits of the states (N, T, 6), each from its token and the one before, by an MLP."""

    def __init__(self):
        super().__init__()
        self.embed, self.up = nn.Embedding(groups.TOKENS, WIDTH), nn.Linear(2 * WIDTH, 4 * WIDTH)
        self.head = nn.Linear(4 * WIDTH, groups.STATES)

    def forward(self, tokens: Tensor) -> Tensor:
        before = F.pad(tokens, (1, 0), value=groups.MASK)[:, :-1]  # nothing is before the first
        return self.head(F.silu(self.up(torch.cat([self.embed(before), self.embed(tokens)], -1))))


def make(model: str, layers: int = 2, seed: int = 0) -> nn.Module:
    """Make an untrained model."""
    torch.manual_seed(seed)
    if model in RECURRENT:
        return Recurrent(model)
    if model == "MLP writer":
        return Window()
    return LLaDAModelLM(
        LLaDAConfig(
            d_model=WIDTH,
            n_heads=4,
            n_layers=layers,
            mlp_hidden_size=3 * WIDTH,
            vocab_size=groups.TOKENS,
            max_sequence_length=96,
            mask_token_id=groups.MASK,
            attention="full" if model == "masked" else "causal",
        )
    )


def scores(net: nn.Module, tokens: Tensor) -> Tensor:
    """Logits of the states from tokens, (N, L, V): only a transformer says other tokens as well."""
    return net(tokens).logits[..., groups.STATES : groups.MASK] if isinstance(net, LLaDAModelLM) else net(tokens)


def loss(model: str, net: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """Mean cross-entropy of the states that a model has to say, in nats; of a masked one, of those that are masked."""
    if model == "masked":
        share = torch.rand(len(y), 1, generator=generator)
        hidden = torch.rand(y.shape, generator=generator) < share
        hidden[~hidden.any(1), -1] = True
        seen = groups.woven(x, torch.where(hidden, groups.HIDDEN, y))
        return F.cross_entropy(scores(net, seen)[:, 1::2][hidden], y[hidden])
    said = scores(net, groups.woven(x, y))[:, ::2] if model in WRITERS else scores(net, x)
    return F.cross_entropy(said.flatten(0, 1), y.flatten())


def train(
    model: str,
    x: Tensor,
    y: Tensor,
    *,
    steps: int,
    rate: float = RATE,
    layers: int = 2,
    seed: int = 0,
    watch: Callable[[int, nn.Module], None] = lambda step, net: None,
) -> nn.Module:
    """Train a model on rows `x`, `y` (N, L) for a number of batches, drawn with replacement.

    AdamW; the rate rises for a tenth of the steps, then falls to nothing along a half cosine. `watch(step, net)` is
    called after each step, from 1.
    """
    net, generator = make(model, layers, seed), torch.Generator().manual_seed(seed)
    descent = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    up = max(1, steps // 10)
    plan = torch.optim.lr_scheduler.LambdaLR(
        descent, lambda s: min((s + 1) / up, 0.5 * (1 + torch.cos(torch.tensor(torch.pi * s / steps)).item()))
    )
    for step in range(1, steps + 1):
        rows = torch.randint(len(x), (BATCH,), generator=generator)
        descent.zero_grad()
        loss(model, net, x[rows], y[rows], generator).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        descent.step()
        plan.step()
        watch(step, net)
    return net.eval()


@dataclass(frozen=True)
class Filled:
    """States that a masked model has written, (N, L), and in which forward each was, (N, L), from 0."""

    y: Tensor
    when: Tensor


@torch.inference_mode()
def fill(net: nn.Module, x: Tensor, forwards: int, order: str = "left to right", y: Tensor | None = None) -> Filled:
    """Write the states of operations (N, L) in a number of forwards, as many in each (the first ones get what is left
    over): the first masked ones from the left (or the right), or those of which the model is surest. Where `y` (N, L)
    knows the first states already, `when` is -1."""
    (N, L), y = x.shape, torch.full_like(x, groups.HIDDEN) if y is None else y
    missing, when = int((y[0] == groups.HIDDEN).sum()), torch.full((N, L), -1)
    for step in range(forwards):
        count = missing // forwards + (step < missing % forwards)
        sure, best = scores(net, groups.woven(x, y))[:, 1::2].softmax(-1).max(-1)  # (N, L)
        place = torch.arange(L).expand(N, L)
        rank = {"left to right": -place, "right to left": place, "confidence": sure}[order].float()
        chosen = rank.masked_fill(y != groups.HIDDEN, -torch.inf).topk(count, 1).indices
        y, when = y.scatter(1, chosen, best.gather(1, chosen)), when.scatter(1, chosen, step)
    return Filled(y, when)


@torch.inference_mode()
def say(model: str, net: nn.Module, x: Tensor) -> Tensor:
    """Let a model say the states of operations (N, L): at once, or one after the other if it reads what it has said."""
    if model == "masked":
        return fill(net, x, x.shape[1]).y
    if model not in WRITERS:
        return scores(net, x).argmax(-1)
    y = torch.zeros_like(x)
    for t in range(x.shape[1]):
        y[:, t] = scores(net, groups.woven(x, y)[:, : 2 * t + 1])[:, -1].argmax(-1)
    return y
