"""Lab 12: one small network for every kind of noise, and one training loop.

Decisions
* A family is a number k: k = 0 is masked diffusion, k = 1 uniform noise over all ids (the mask id is one of them, as in
  XDLM), between them lies the hybrid. `AR` is the causal twin. Network, texts, batches, optimizer, learning rate and
  number of steps are the same for all.
* The network is told the time: a token for one of 16 levels of noise stands before the text, for *every* family, and
  always the same one for AR, whose start mark it is. Logits of these ids and of the mask are cut off.
* The loss is the family's own bound (`priors.interpolating_nelbo`), an unbiased estimate with evenly spread times, cut
  to EPS..1-EPS in training only; AR learns its exact -log p. Only the last `window` places are noised and count.
* For evaluation times are t = u^3, u evenly spread, with the weight 3 u^2, which tames the bound near t = 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.decode.ancestral import Denoise
from dlmlab.network.model import LLaDAConfig, LLaDAModelLM
from dlmlab.objective.noise import EPS
from dlmlab.objective.priors import interpolating_nelbo, mixed_prior, noise_tokens
from dlmlab.objective.training import TrainConfig, build_optimizers, rates, set_rates

LEVELS = 16  # time tokens
FAMILIES: dict[str, float | None] = {
    "mask": 0.0,
    "hybrid 0.03": 0.03,
    "hybrid 0.1": 0.1,
    "hybrid 0.3": 0.3,
    "uniform": 1.0,
    "AR": None,
}
DIFFUSION = tuple(name for name, k in FAMILIES.items() if k is not None)


@dataclass(frozen=True)
class Size:
    """A network and its training. `rate` is that of Muon and of AdamW."""

    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    hidden: int = 256
    steps: int = 1_500
    rows: int = 128
    rate: float = 4e-3
    timed: bool = True


Batch = tuple[Tensor, Tensor | None]  # texts (B, L), and which tokens are real (B, L) or None for all
Batches = Callable[[int, torch.Generator], Batch]  # (step, generator) -> a batch


class Family:
    """A network of one family. `V` ids of the texts, of which `mask_id` is the mask; `window` places count."""

    def __init__(self, name: str, size: Size, *, V: int, mask_id: int, window: int, longest: int, seed: int):
        self.name, self.size, self.V, self.mask_id, self.window = name, size, V, mask_id, window
        self.causal = FAMILIES[name] is None
        self.prior = mixed_prior(V, mask_id, 0.0 if self.causal else FAMILIES[name])
        config = LLaDAConfig(
            d_model=size.d_model,
            n_heads=size.n_heads,
            n_layers=size.n_layers,
            mlp_hidden_size=size.hidden,
            vocab_size=V + LEVELS,
            max_sequence_length=longest + 1,
            mask_token_id=mask_id,
            attention="causal" if self.causal else "full",
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = LLaDAModelLM(config)

    def logits(self, ids: Tensor, alpha: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Give the logits of the window, (B, window, V): of the same place, or for AR of the place from its left."""
        level = torch.zeros(len(ids), dtype=torch.long)
        if alpha is not None and self.size.timed and not self.causal:
            level = ((1 - alpha) * LEVELS).long().clamp(0, LEVELS - 1)
        ids = torch.cat([self.V + level[:, None], ids], 1)
        if valid is not None:
            valid = F.pad(valid, (1, 0), value=True)
        L = ids.shape[1]
        shift = 1 if self.causal else 0
        keep = torch.arange(L - self.window - shift, L - shift)
        out = self.model(ids, valid, logits_to_keep=keep, kernel="explicit").logits[..., : self.V]
        return out.index_fill(-1, torch.tensor([self.mask_id]), -torch.inf)

    def loss(self, x0: Tensor, valid: Tensor | None, generator: torch.Generator) -> Tensor:
        """Estimate the bound of a batch, or compute -log p for AR, in nats per place of the window."""
        B, W = len(x0), self.window
        if self.causal:
            logits = self.logits(x0, None, valid)
            return F.cross_entropy(logits.flatten(0, 1), x0[:, -W:].flatten())
        u = (torch.rand((), generator=generator, dtype=torch.float64) + torch.arange(B) / B) % 1
        t = EPS + (1 - 2 * EPS) * u
        z = noise_tokens(x0, 1 - t, self.prior, where=window_of(x0, W), generator=generator)
        at_t = interpolating_nelbo(
            self.logits(z, 1 - t, valid),
            x0[:, -W:],
            z[:, -W:],
            alpha=1 - t,
            dalpha=-torch.ones_like(t),
            prior=self.prior,
        )
        return at_t.mean()

    def train(self, batches: Batches, seed: int, *, stop_after: int | None = None, looks: dict | None = None):
        """Take all steps, or the first `stop_after` of the same schedule. `looks`: {step: function called then}."""
        size, draw = self.size, torch.Generator().manual_seed(seed)
        self.model.train()
        optimizers = build_optimizers(self.model, TrainConfig(name="family", lr=size.rate, lr_rest=size.rate))
        base = rates(optimizers)
        for step in range(stop_after or size.steps):
            set_rates(optimizers, base, min((step + 1) / 50, 1 - step / size.steps))
            self.loss(*batches(step, draw), draw).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            if looks and step + 1 in looks:
                looks[step + 1]()
        self.model.eval()
        return self


def window_of(x: Tensor, window: int) -> Tensor:
    """Mark the last `window` places of every row, (B, L) bool."""
    return (torch.arange(x.shape[1]) >= x.shape[1] - window).expand(x.shape)


def by_masks(denoise: Denoise, mask_id: int) -> Callable[[Tensor], Tensor]:
    """Tell a denoiser the time by the share of masks in a row: what DUEL and filling one by one need."""

    def told(z: Tensor) -> Tensor:
        share = (z == mask_id).double().mean(1)
        return denoise(z, (1 - share).clamp(1e-6, 1 - 1e-6))

    return told


@torch.no_grad()
def bound(
    denoise: Denoise,
    x0: Tensor,
    *,
    prior: Tensor,
    draws: int,
    generator: torch.Generator,
    reference: Denoise | None = None,
    at_once: int = 1_024,
) -> Tensor:
    """Estimate the bound of rows x0 (B, L) in nats, (B, draws): times t = u^3, u evenly spread over the draws of a row.

    With a `reference` the same noise is given to it too, and its bound is taken off: what is left varies less. All
    rows go through `denoise` together, one or several times over, in their order, up to `at_once` of them.
    """
    B = len(x0)
    u = (torch.rand(B, 1, generator=generator, dtype=torch.float64) + torch.arange(draws) / draws) % 1
    found = []
    for part in u.clamp(1e-4, 1 - 1e-6).T.split(max(1, at_once // B)):  # (r, B)
        x, column = x0.repeat(len(part), 1), part.flatten()
        alpha = 1 - column**3
        z = noise_tokens(x, alpha, prior, generator=generator)
        how = {"alpha": alpha, "dalpha": -torch.ones_like(alpha), "prior": prior}
        at_t = interpolating_nelbo(denoise(z, alpha), x, z, **how)
        if reference is not None:
            at_t = at_t - interpolating_nelbo(reference(z, alpha), x, z, **how)
        found.append((3 * column**2 * at_t.sum(-1)).view(-1, B))
    return torch.cat(found).T
