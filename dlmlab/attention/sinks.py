"""Attention sinks: what counts as one, and how to tell whether it stays.

Decisions
* The base quantity is the column sum, the attention a key receives summed over the queries, (..., L). A uniform
  bidirectional map gives 1 everywhere. Maps of size L x L are never stored for a trajectory.
* Three published definitions are kept apart: above the spread (Sink-Aware Pruning), a share of all attention (Gu et
  al.), several times the others' mean (Rulli et al.). The first always flags an upper tail, sink or not; the other two
  are absolute and may find nothing.
* In a causal model only L - k queries see key k, so its mean attention divides by that number.
* Statistics over time take m (S, L): S states of one text. What has no value (the centroid of no sink) is NaN.

Sources: Gu et al., arXiv 2410.10781; Rulli et al., arXiv 2510.15731; Sink-Aware Pruning, arXiv 2602.17664.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import column_sums


@torch.inference_mode()
def received(model: PreTrainedModel, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Run the model and return the attention every key receives, summed over queries: (N, B, H, L), N layers.

    Each layer and head gives out L in all, or the number of real tokens of a padded row. The course's own models sum
    on the way; of any other model of Transformers the maps are taken, see `attention_maps`.
    """
    if not isinstance(model.config, LLaDAConfig):
        maps = attention_maps(model, ids, attention_mask)
        return torch.stack([column_sums(layer, attention_mask) for layer in maps])
    last = torch.tensor([-1], device=ids.device)  # the head is not needed
    out = model(ids, attention_mask, output_column_sums=True, logits_to_keep=last)
    return torch.stack(out.column_sums)


@torch.inference_mode()
def attention_maps(model: PreTrainedModel, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Run any model of Transformers and return its attention, (N, B, H, L, L): N layers, rows are queries.

    Raises `ValueError` for a model whose kernel gives no weights away (load it with attn_implementation="eager"), and
    for one whose layers differ in their heads.
    """
    maps = model(input_ids=ids, attention_mask=attention_mask, output_attentions=True).attentions
    if not maps or any(layer is None for layer in maps):
        raise ValueError('the model returns no attention: load it with attn_implementation="eager"')
    if shapes := {tuple(layer.shape) for layer in maps} - {tuple(maps[0].shape)}:
        raise ValueError(f"layers have maps of shapes {tuple(maps[0].shape)} and {shapes}: must be the same")
    return torch.stack(maps)


def attention_mass(sums: Tensor) -> Tensor:
    """Sum over layers and heads, (N, B, H, L) -> (B, L): N * H * L in all, N * H at each position when uniform.

    `Trajectory.sums` has its states in front; its `mass` is the mean for the same purpose.
    """
    _expect(sums, "N B H L")
    return sums.sum((0, 2))


def _expect(x: Tensor, dims: str) -> None:
    if x.ndim != len(dims.split()):
        raise ValueError(f"shape {tuple(x.shape)} has {x.ndim} dimensions, must be ({', '.join(dims.split())})")


# ------------------------------------------------------------------------------------------------ what is a sink


def mean_attention(sums: Tensor, *, causal: bool) -> Tensor:
    """Average over the queries that can see a key, (..., L) -> (..., L): column sum / L, or / (L - k) when causal.

    Gu et al., equation 1 (their models are causal). Compare only values of the same L: uniform attention gives 1 / L
    everywhere when not causal, and `uniform_sums(L) / (L - k)` when causal. Rows must not be padded.

    >>> mean_attention(torch.tensor([1.5, 1.0, 0.5]), causal=True).tolist()
    [0.5, 0.5, 0.5]
    """
    L = sums.shape[-1]
    seen_by = torch.arange(L, 0, -1, device=sums.device) if causal else L
    return sums / seen_by


def lift(maps: Tensor, *, causal: bool) -> Tensor:
    """Average what keys receive in fair shares of the queries, head by head, (N, B, H, L, L) -> (N, B, H, K).

    1 is uniform attention for every key. Not causal: the column sums, K = L. Causal: the keys of the first half as the
    queries of the second half see them, K = L // 2. Each of these sees all of those, and its fair share is 1 / (i + 1),
    so that nothing of the causal triangle is left; early keys are not strong, nor late ones chosen, for where they are.

    >>> lift(torch.full((1, 1, 1, 4, 4), 0.25), causal=False).flatten().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    _expect(maps, "N B H L L")
    if not causal:
        return maps.sum(-2)
    L = maps.shape[-1]
    seen = torch.arange(L // 2 + 1, L + 1, dtype=maps.dtype, device=maps.device)  # keys of each late query
    return (maps[..., L // 2 :, : L // 2] * seen[:, None]).mean(-2)


def sink_rate(alpha: Tensor, eps: float = 0.3) -> Tensor:
    """Share of heads for which a position is a sink, (N, B, H, L) -> (B, L): mean over layers and heads of alpha > eps.

    Gu et al., equation 2; they report position 0, texts of 64 tokens and eps = 0.3.
    """
    _expect(alpha, "N B H L")
    return (alpha > eps).float().mean((0, 2))


def sinks_a_text(marks: Tensor) -> Tensor:
    """Average the number of sinks a text over the texts, for each layer and head: (N, B, H, L) bool -> (N, H).

    Published rules judge heads: mark sinks in the column sums of single heads, average afterwards. The mean of six
    heads, of which one has a sink, has none.
    """
    _expect(marks, "N B H L")
    return marks.sum(-1).float().mean(1)


def stands_out(sums: Tensor, eps: float = 3.0) -> Tensor:
    """Mark the sinks of Rulli et al., (..., L) bool: column sum > mean of the other positions + eps.

    Their rule is for one layer and head; a mean over heads hides the sinks of single ones, see `sinks_a_text`.
    Their text divides the column by L, which no position could then exceed by 3; their figure shows sums.
    """
    L, total = sums.shape[-1], sums.sum(-1, keepdim=True)
    return sums > (total - sums) / (L - 1) + eps


def above_spread(mass: Tensor, std: float = 2.0) -> Tensor:
    """Mark positions above mean + std * standard deviation of their row, (..., L) bool.

    The rule of Sink-Aware Pruning. It has no null hypothesis: of Gaussian noise it flags one position in forty.
    """
    mean, sd = mass.mean(-1, keepdim=True), mass.std(-1, correction=0, keepdim=True)
    return mass > mean + std * sd


def soft_sink_score(mass: Tensor, *, std: float = 2.0, sharpness: float = 5.0, normalise: str = "zscore") -> Tensor:
    """Score every position between 0 (no sink) and 1: sigmoid(sharpness (mass - mean - std * sd)), (..., L).

    `normalise`: "none" takes the mass as it is, like the released code of Sink-Aware Pruning, where hundreds of heads
    make the sigmoid a step; "per_head" divides by the mean mass; "zscore" counts in standard deviations. Uniform mass
    gives 0.5 everywhere with the first two. Raises `ValueError` for another name.
    """
    mean, sd = mass.mean(-1, keepdim=True), mass.std(-1, correction=0, keepdim=True)
    above = mass - mean - std * sd
    if normalise == "none":
        return (sharpness * above).sigmoid()
    if normalise == "per_head":
        return (sharpness * above / mean).sigmoid()
    if normalise == "zscore":
        sd = sd.where(sd > 1e-6 * mean, torch.inf)  # no spread: nothing is above it
        return (sharpness * ((mass - mean) / sd - std)).sigmoid()
    raise ValueError(f"normalise={normalise!r} is unknown; known: none, per_head, zscore")


# ------------------------------------------------------------------------------------------------ from whom to whom


def given(maps: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Average the attention that the marked queries give to the marked keys, head by head, (N, H).

    Shapes: maps (N, B, H, L, L); queries (B, L) bool; keys (B, L) bool, or (B, L, L) when each query has keys of its
    own. NaN when no query is marked.
    """
    return torch.einsum("nbhq,bq->nh", _towards(maps, keys), queries.to(maps.dtype)) / queries.sum()


def fair_shares(maps: Tensor, queries: Tensor, keys: Tensor, *, causal: bool) -> Tensor:
    """Average how many fair shares the marked queries give to the marked keys, (N, H); shapes as in `given`.

    The fair share of a query is what the keys would get if it looked alike at everything it may see: with 3 marked
    keys of 30 visible ones, 0.1. A causal query sees fewer keys, so its fair share is larger. Queries that see no
    marked key do not count; NaN when none is left.
    """
    L = maps.shape[-1]
    visible = torch.ones(L, L, dtype=torch.bool, device=maps.device)
    visible = visible.tril() if causal else visible
    marked = ((keys[:, None] if keys.ndim == 2 else keys) & visible).sum(-1)  # (B, L)
    counted = queries & (marked > 0)
    weight = counted * visible.sum(-1) / marked.clamp(min=1)  # (B, L), 1 / fair share
    return torch.einsum("nbhq,bq->nh", _towards(maps, keys), weight.to(maps.dtype)) / counted.sum()


def _towards(maps: Tensor, keys: Tensor) -> Tensor:
    """Attention that every query gives to the marked keys, (N, B, H, L)."""
    _expect(maps, "N B H L L")
    return (maps * (keys[:, None, None] if keys.ndim == 2 else keys[:, None])).sum(-1)


# ------------------------------------------------------------------------------------------------ over time


def centroid(m: Tensor, sinks: Tensor) -> Tensor:
    """Mean position of the sinks of each state, weighted by their mass; NaN where a state has none.

    sum_i i m[s, i] / sum_i m[s, i] over the sinks i of state s. Shapes: m (S, L), sinks (S, L) bool -> (S,).
    """
    weight = m * sinks
    position = torch.arange(m.shape[-1], device=m.device, dtype=m.dtype)
    return (weight * position).sum(-1) / weight.sum(-1)


# ------------------------------------------------------------------------------------------------ against a null


def uniform_sums(L: int, *, causal: bool) -> Tensor:
    """Column sums of attention that looks everywhere alike, (L,): 1, or the sum of 1 / (i + 1) over i >= k if causal.

    A causal map gives position 0 about ln L + 0.58 times a fair share before anything is learned.
    """
    return (1 / torch.arange(1, L + 1)).flip(0).cumsum(0).flip(0) if causal else torch.ones(L)


def over_base_rate(mass: Tensor, kinds: Tensor, n: int) -> Tensor:
    """Share of the attention that each kind of token gets, divided by its share of the positions, (n,).

    1 is a fair share; NaN for a kind that does not occur. All states count together; of a text that grows, pass the
    visible positions only. Shapes: mass (S, L), kinds (S, L) or any two of one shape. Raises `ValueError` when the
    shapes differ or a kind lies outside 0..n-1.
    """
    if mass.shape != kinds.shape:
        raise ValueError(f"mass has shape {tuple(mass.shape)}, kinds {tuple(kinds.shape)}: must be the same")
    if not bool(((kinds >= 0) & (kinds < n)).all()):
        raise ValueError(f"kinds {int(kinds.min())}..{int(kinds.max())} must lie in 0..{n - 1}")
    got = torch.zeros(n, dtype=mass.dtype).index_add(0, kinds.flatten(), mass.flatten()) / mass.sum()
    return got / (kinds.flatten().bincount(minlength=n) / kinds.numel())


def planted_sums(strength: Tensor, *, heads: int = 4, width: int = 16, generator: torch.Generator) -> Tensor:
    """Make column sums of maps with sinks planted on command, strength (S, L) -> (S, H, L).

    Queries share a direction plus noise; the key at a position of strength c is noise plus c times that direction. 0
    plants nothing, 2 draws nearly all attention. Tests and notebook 03 hold the instruments against it.
    """
    S, L = strength.shape
    shape = (S, heads, L, width)
    direction = torch.ones(width)
    q = direction + 0.5 * torch.randn(shape, generator=generator)
    k = 0.5 * torch.randn(shape, generator=generator) + strength[:, None, :, None] * direction
    return (q @ k.transpose(-1, -2) * width**-0.5).softmax(-1).sum(2)
