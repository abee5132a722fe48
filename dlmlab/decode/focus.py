"""FOCUS: let only the tokens that will soon be committed travel through the deep layers.

A forward commits a few tokens of a block, but computes all of its masks. Those that come next show early: the
attention they receive rises from the first layer to the second. The others leave the network there. Their keys of
deeper layers stay those of an earlier forward.

Decisions
* The block is cached on both sides (`DualCache`). A token is frozen once it and its right neighbour are committed.
* How many may stay: `alpha` times the mean number of tokens a row has committed per forward.
* The original runs on block-causal models and never refreshes. With full attention every block starts with a forward
  over everything, so every token has keys in every layer and nothing needs to be hidden.

Source: FOCUS, arXiv 2601.23278. Own implementation.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab import limits
from dlmlab.decode.cache import BlockState, DualCache, Forward, Session, pack
from dlmlab.network import parts
from dlmlab.network.cost import block_flops, head_flops
from dlmlab.network.model import pick


@dataclass(frozen=True)
class Focus(DualCache):
    """A dual cache that also drops the masks unlikely to be committed, after the second layer's keys and values.

    Raises `ValueError` for an alpha that is not positive.
    """

    alpha: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        limits.number("alpha", self.alpha, 0, open="<")

    def due(self, state: BlockState) -> Tensor:
        right_is_masked = F.pad(state.masked, (0, 1))[:, 1:]
        return (state.masked | right_is_masked | state.changed) & super().due(state)

    def begin(self, model, mask_id: int, x: Tensor, valid: Tensor | None) -> "FocusSession":
        if model.config.n_layers < 3:
            raise ValueError(f"n_layers={model.config.n_layers}: FOCUS drops tokens after the second of at least 3")
        return FocusSession(self, model, mask_id, x, valid)


def candidate_attention(q: Tensor, k: Tensor, candidate: Tensor) -> Tensor:
    """Sum the attention each candidate receives from the others, over heads and queries, (B, n).

    Scores are smoothed by a maximum over neighbouring keys (window 3) before the softmax. Shapes: q (B, H, n, D/H), k
    (B, H_kv, n, D/H), candidate (B, n) bool, the candidates first.
    """
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    hidden = ~candidate[:, None, None]  # (B, 1, 1, n)
    scores = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(hidden, -torch.inf)  # (B, H, n, n)
    scores = F.max_pool1d(scores.flatten(0, 1), 3, stride=1, padding=1).view_as(scores).masked_fill(hidden, -torch.inf)
    weights = scores.softmax(-1).nan_to_num() * candidate[:, None, :, None]  # rows without a candidate: all -inf
    return weights.sum((1, 2))


def choose(rise: Tensor, candidate: Tensor, target: Tensor) -> Tensor:
    """Choose the candidates that stay, (B, n) bool: the `target` (B,) with the steepest rise, or all that rise by a
    standard deviation more than the mean, if these are more; and the left neighbour of each.

    Shapes: rise (B, n), candidate (B, n) bool, the candidates first and from left to right.
    """
    n = candidate.sum(1, keepdim=True).clamp(min=1)
    mean = (rise * candidate).sum(1, keepdim=True) / n
    spread = (((rise - mean) ** 2 * candidate).sum(1, keepdim=True) / n).sqrt()
    steep = (rise >= mean + spread) & candidate
    rank = rise.masked_fill(~candidate, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    keep = torch.where(steep.sum(1, keepdim=True) >= target[:, None], steep, (rank < target[:, None]) & candidate)
    return keep | (F.pad(keep, (0, 1))[:, 1:] & candidate)


class FocusSession(Session):
    """A dual cache at work, with a count of what each row has committed per forward."""

    def __init__(self, *args):
        super().__init__(*args)
        self.masks = (self.x == self.mask_id).sum(1)  # (B,), at the start
        self.forwards = torch.zeros_like(self.masks)

    def __call__(self, rows: Tensor, columns: Tensor) -> Forward:
        self.active = rows
        forward = super().__call__(rows, columns)
        self.forwards[rows] += 1
        return forward

    def target(self, rows: Tensor) -> Tensor:
        """Work out how many candidates may stay, (R,): ceil(alpha x mean committed per forward), at least one."""
        committed = self.masks[rows] - (self.x[rows] == self.mask_id).sum(1)
        rate = (committed / self.forwards[rows].clamp(min=1)).clamp(min=1)
        return (rate * self.cache.alpha).ceil().long().clamp(min=1)

    def some(self, ids: Tensor, due: Tensor, columns: Tensor) -> Forward:
        """Run the due columns through two layers and the promising ones through the rest."""
        model, masked = self.model, (ids == self.mask_id) & due
        at = pack(due.int() + masked.int())  # (R, q), masks first
        ids = ids.gather(1, at)
        place = torch.arange(at.shape[1], device=at.device)
        candidate, real = place < masked.sum(1, keepdim=True), place < due.sum(1, keepdim=True)
        frame, h, attention = model.frame(ids, None, self.kv, at), parts.embed(model, ids), []
        for i, block in enumerate(parts.blocks(model)):
            q, *new = parts.project(block, h, frame.rope)
            k, v = frame.store(i)(*new)
            if i < 2:
                attention.append(candidate_attention(q, new[0], candidate))
            if i == 1:
                stay = choose(attention[1] - attention[0], candidate, self.target(self.active)) | (real & ~candidate)
                keep = pack(stay.int())  # (R, n)
                h, q = pick(h, keep), pick(q.transpose(1, 2), keep).transpose(1, 2)
                at, ids = at.gather(1, keep), ids.gather(1, keep)
                frame = model.frame(ids, None, self.kv, at)
            h, _ = block.mix(h, q, k, v, frame.mask)
        logits = parts.predict(model, h)  # (R, n, V)
        found = at[:, None] == columns[:, None]  # (R, C, n)
        logits = pick(logits, found.int().argmax(-1))  # (R, C, V)
        return self._bill(logits, found.any(-1), stay.shape[1], keep.shape[1], int((candidate & ~stay).sum()))

    def _bill(self, logits: Tensor, open: Tensor, q: int, n: int, evicted: int) -> Forward:
        config, k = self.model.config, len(self.kv)
        queries = config.layer_shape(1)[0] * config.head_width  # all are made, to be compared
        second = block_flops(config, q, n, k, 1)
        second += 0 if config.fused_queries else 2 * (q - n) * config.d_model * queries
        scores = 2 * 2 * q * q * config.d_model
        deep = sum(block_flops(config, n, n, k, layer) for layer in range(2, config.n_layers))
        flops = block_flops(config, q, q, k) + second + scores + deep + head_flops(config, n)
        return Forward(logits, len(logits) * q, len(logits) * flops, open, evicted)
