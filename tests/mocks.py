"""Denoisers with known answers: what a sampler does with them can be worked out without the sampler.

A denoiser is a function (ids (B, L), attention mask (B, L) or None) -> logits (B, L, V), as in `dlmlab.sampling`.
"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor


class UniformDenoiser:
    """Every token is equally likely everywhere."""

    def __init__(self, vocab: int):
        self.vocab = vocab

    def __call__(self, ids: Tensor, valid: Tensor | None = None) -> Tensor:
        return torch.zeros(*ids.shape, self.vocab)


class OracleDenoiser:
    """Knows the clean texts `x0` (N, L) and bets on the first one that agrees with what is visible."""

    def __init__(self, x0: Tensor, vocab: int, mask_id: int, sharpness: float = 30.0):
        self.x0, self.vocab, self.mask_id, self.sharpness = torch.atleast_2d(x0), vocab, mask_id, sharpness

    def __call__(self, ids: Tensor, valid: Tensor | None = None) -> Tensor:
        agrees = ((ids[:, None] == self.x0) | (ids[:, None] == self.mask_id)).all(-1)  # (B, N)
        return self.sharpness * F.one_hot(self.x0[agrees.int().argmax(1)], self.vocab).float()


class RandomDenoiser:
    """Logits in 0..6 hashed from the whole context, the position and the token: arbitrary, and a function of the ids.

    Padding is not looked at and not counted, so a padded row gets exactly the logits of the row alone. With few
    `levels` tokens tie exactly; with `twins` neighbouring positions share their logits, so positions tie too.
    """

    def __init__(self, vocab: int, seed: int = 0, *, levels: int = 2**20, twins: bool = False):
        self.vocab, self.seed, self.levels, self.twins = vocab, seed, levels, twins

    def __call__(self, ids: Tensor, valid: Tensor | None = None) -> Tensor:
        valid = torch.ones_like(ids) if valid is None else valid.long()
        place = valid.cumsum(1)  # (B, L), 1 at the first real token
        context = ((ids + 1) * place**3 * valid).sum(1) + 7_919 * self.seed  # (B,)
        place = place // 2 if self.twins else place
        h = context[:, None, None] * 1_000_003 + place[..., None] * 15_485_863 + torch.arange(self.vocab) * 104_729
        for multiplier in (2_654_435_761, 2_246_822_519):
            h = (h % 2**31) * multiplier % 2**31  # below 2^63: no overflow
            h = h ^ (h >> 15)
        return (h % self.levels).float() * (6 / self.levels)  # (B, L, V)


class ToyDenoiser:
    """The deterministic model of the golden traces: 4 sin(1.3 (i + 1)(v + 1) + 0.01 sum_j x_j (j + 1)), in float64."""

    vocab, mask_id = 11, 10

    def __call__(self, ids: Tensor, valid: Tensor | None = None) -> Tensor:
        i = torch.arange(1, ids.shape[1] + 1, dtype=torch.float64)
        v = torch.arange(1, self.vocab + 1, dtype=torch.float64)
        context = (ids * i).sum(1)
        logits = 4 * torch.sin(1.3 * i[:, None] * v + 0.01 * context[:, None, None])  # (B, L, V)
        logits[..., self.mask_id] = -1e9
        return logits


class CountingDenoiser:
    """Passes on to another denoiser and remembers what it was asked: `inputs`, one (B, L) a forward."""

    def __init__(self, inner):
        self.inner, self.inputs = inner, []

    def __call__(self, ids: Tensor, valid: Tensor | None = None) -> Tensor:
        self.inputs.append(ids.clone())
        return self.inner(ids, valid)

    @property
    def batches(self) -> list[int]:
        return [len(ids) for ids in self.inputs]


class ModelOf:
    """Dress a denoiser as a model with a `config`, for callers that cannot pass the special ids."""

    def __init__(self, denoiser, mask_id: int, eos_id: int | None = None, attention: str = "full"):
        self.denoiser = denoiser
        self.config = SimpleNamespace(mask_token_id=mask_id, eos_token_id=eos_id, attention=attention)
        self.device = torch.device("cpu")

    def __call__(self, ids: Tensor, valid: Tensor | None = None, *, logits_to_keep=slice(None)) -> SimpleNamespace:
        return SimpleNamespace(logits=self.denoiser(ids, valid)[:, logits_to_keep])
