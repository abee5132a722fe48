"""Take keys away while a model decodes: is a position that gets much attention needed?

    blind = WithoutKeys(model, Strongest(k=1))
    sampling.sample(blind, prompts)  # at every forward the strongest receiver is hidden from all other queries

Decisions
* The keys are chosen anew at every forward from that forward's own attention, and are the same in all layers and heads.
* A hidden key stays visible to its own query: its row of the map must not be empty, and what it tells itself is not a
  sink's job.
* Two controls: as many random keys, and as many keys of the same kinds. A start mark is the only one of its kind, so
  there the second control takes any other position.

Source: Rulli et al., arXiv 2510.15731, section 5 (they choose from the map of the step before, which saves a forward).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dlmlab.model import LLaDAModelLM, LLaDAOutput
from dlmlab.sinks import attention_mass
from dlmlab.trajectories import token_kinds

Choice = Callable[[Tensor, Tensor, Tensor], Tensor]  # mass (B, L), ids (B, L), real (B, L) bool -> hidden (B, L) bool


class WithoutKeys:
    """A model whose queries do not see the keys that `choose` picks; called like the model, at twice the cost."""

    def __init__(self, model: LLaDAModelLM, choose: Choice):
        self.model, self.choose = model, choose
        self.config, self.device = model.config, model.device

    def __call__(self, ids: Tensor, attention_mask: Tensor | None = None, *, kv=None, **options) -> LLaDAOutput:
        if kv is not None:
            raise ValueError("keys are chosen from the whole text: decode without a cache (cache=False)")
        real = torch.ones_like(ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        last = torch.tensor([-1], device=ids.device)
        sums = torch.stack(self.model(ids, attention_mask, output_column_sums=True, logits_to_keep=last).column_sums)
        hidden = self.choose(attention_mass(sums), ids, real)
        return self.model(ids, real & ~hidden, **options)


def _mark(indices: Tensor, L: int) -> Tensor:
    return torch.zeros(len(indices), L, dtype=torch.bool, device=indices.device).scatter(1, indices, True)


def _check_k(k: int, L: int) -> None:
    if not 0 <= k < L:
        raise ValueError(f"k={k} keys of {L}: must lie in 0..{L - 1}")


@dataclass(frozen=True)
class Strongest:
    """The k positions with the largest mass of each row."""

    k: int

    def __call__(self, mass: Tensor, ids: Tensor, real: Tensor) -> Tensor:
        _check_k(self.k, mass.shape[1])
        return _mark(mass.masked_fill(~real, -1.0).topk(self.k, 1).indices, mass.shape[1])


@dataclass(frozen=True)
class RandomKeys:
    """k positions of each row, uniformly."""

    k: int
    generator: torch.Generator

    def __call__(self, mass: Tensor, ids: Tensor, real: Tensor) -> Tensor:
        _check_k(self.k, mass.shape[1])
        draw = torch.rand(mass.shape, generator=self.generator).masked_fill(~real, -1.0)
        return _mark(draw.topk(self.k, 1).indices, mass.shape[1])


@dataclass(frozen=True)
class SameKind:
    """For each of the k strongest another position of its kind, uniformly; any other position where there is none."""

    k: int
    tokenizer: PreTrainedTokenizerBase
    generator: torch.Generator

    def __call__(self, mass: Tensor, ids: Tensor, real: Tensor) -> Tensor:
        strongest, kinds = Strongest(self.k)(mass, ids, real), token_kinds(ids, self.tokenizer)
        hidden = torch.zeros_like(strongest)
        for b, at in strongest.nonzero().tolist():
            free = real[b] & ~strongest[b] & ~hidden[b]
            same = free & (kinds[b] == kinds[b, at])
            pool = (same if bool(same.any()) else free).nonzero()[:, 0]
            hidden[b, pool[int(torch.randint(len(pool), (), generator=self.generator))]] = True
        return hidden
