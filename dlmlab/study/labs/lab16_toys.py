"""Lab 16: a small network that looks things up, with a mixer of one's choice in each layer.

A token is a pair: a key (or none) and a value (or "asked", or filler), and its embedding is the sum of the two. The
network says which value belongs to the key that is asked for. No words, so that nothing but the mixer is judged.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlmlab.attention import dilated, linear
from dlmlab.network.model import RMSNorm, rope_table, rotate

WIDTH, HEADS, RATE = 64, 4, 2e-3

Mask = Tensor | None


class Mixer(nn.Module):
    """Mix tokens (B, L, D) -> (B, L, D): `softmax`, `linear` (features and denominator), `raw` (neither, a norm after),
    all from both sides; `attention` and `recurrence` (RAT+) read what a mask allows, with positions and an output gate.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.norm = RMSNorm(WIDTH, 1e-5) if kind == "raw" else None
        self.open = nn.Linear(WIDTH, WIDTH) if kind in ("attention", "recurrence") else None
        self.gate = nn.Linear(WIDTH, WIDTH) if kind == "recurrence" else None

    def forward(self, x: Tensor, mask: Mask = None) -> Tensor:
        """`mask` (L, L) bool, queries down; only for `attention` and `recurrence`."""
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.gate is not None:
            g = self.gate(x).sigmoid()
            k, v = dilated.smooth(torch.cat([k, v], -1), torch.cat([g, g], -1)).chunk(2, -1)
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (q, k, v))
        if self.open is not None:
            rope = rope_table(torch.arange(x.shape[1]), WIDTH // HEADS, 10_000.0)
            q, k = rotate(q, *rope), rotate(k, *rope)
        if self.kind == "linear":
            mixed = linear.normalised(q, k, v)
        elif self.kind == "raw":
            mixed = linear.both_sides(q, k, v)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        if self.norm is not None:
            mixed = self.norm(mixed)
        return self.out(mixed if self.open is None else mixed * self.open(x).sigmoid())


class Layer(nn.Module):
    """Pre-norm mixer and a feed-forward of four times the width."""

    def __init__(self, kind: str):
        super().__init__()
        self.norms = nn.ModuleList(RMSNorm(WIDTH, 1e-5) for _ in range(2))
        self.mixer = Mixer(kind)
        self.feed = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor, mask: Mask = None) -> Tensor:
        """Mix tokens (B, L, D), then transform each by itself."""
        x = x + self.mixer(self.norms[0](x), mask)
        return x + self.feed(self.norms[1](x))


class Finder(nn.Module):
    """Two or more layers between embeddings of keys and values and a head over values."""

    def __init__(self, kinds: tuple[str, ...], keys: int, contents: int, values: int):
        super().__init__()
        self.keys, self.contents = nn.Embedding(keys, WIDTH), nn.Embedding(contents, WIDTH)
        self.layers = nn.ModuleList(Layer(kind) for kind in kinds)
        self.norm, self.head = RMSNorm(WIDTH, 1e-5), nn.Linear(WIDTH, values, bias=False)

    def forward(self, keys: Tensor, contents: Tensor, asked: slice, mask: Mask = None) -> Tensor:
        """Read tokens (B, L) and give logits of the value at the places `asked`, (B, n, values)."""
        x = self.keys(keys) + self.contents(contents)
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(self.norm(x[:, asked]))


Draw = Callable[[torch.Generator], tuple[Tensor, Tensor, slice, Tensor]]


def train(
    model: Finder, draw: Draw, steps: int, seed: int, masks: tuple[Mask, ...] = (None,), stop: int | None = None
) -> list[float]:
    """Train in place with AdamW and return the loss of each step, in nats an answer.

    `draw(generator)` gives keys, contents (B, L), the places asked, and the true values there (B, n). Each batch is
    read once with each of the `masks`, and the losses averaged. The rate is constant for the first half of the `steps`
    and falls to 0 in the second; `stop` ends after so many of them, with the rates of the whole run.
    """
    generator, losses = torch.Generator().manual_seed(seed), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    for step in range(steps if stop is None else stop):
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / 20) * min(1.0, 2 * (1 - step / steps))
        keys, contents, asked, truth = draw(generator)
        loss = sum(F.cross_entropy(model(keys, contents, asked, m).flatten(0, 1), truth.flatten()) for m in masks)
        loss = loss / len(masks)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def judge(model: Finder, batch: tuple, mask: Mask = None) -> tuple[str, list[float]]:
    """Say for each row of a batch whether all that was asked was answered right ("1" or "0"), and its mean loss."""
    keys, contents, asked, truth = batch
    with torch.inference_mode():
        logits = model(keys, contents, asked, mask)
    right = (logits.argmax(-1) == truth).all(-1)
    loss = F.cross_entropy(logits.transpose(1, 2), truth, reduction="none").mean(-1)
    return "".join(str(int(r)) for r in right), [round(value, 3) for value in loss.tolist()]
