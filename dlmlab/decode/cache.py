"""Key-value caches for a model that reads both sides: which columns of the text are computed again at a step.

Decisions
* A cache answers one question before every forward: which columns are *due*? The network runs on those only; all
  other keys and values are those of an earlier forward. "No cache" answers: all of them, always.
* What the kinds share is in `Session`. The first forward of a block computes everything, so one step per block, or
  `refresh=1`, is no cache at all. The tests hold on to that.
* With `full` attention every key depends on every token, so a cache is an approximation (`dlmlab.drift` measures it).
  With `block:K` attention finished blocks never change, and `BlockCache` is exact.
* Rows of a batch may be due in different columns. Shorter lists repeat a column, so that neighbours never change a
  row; the repeats are billed.

Sources: Fast-dLLM, arXiv 2505.22618 (prefix, dual); dKV-Cache, arXiv 2505.15781 (delayed); BD3-LM, arXiv 2503.09573
(exact for block-causal attention). Own implementation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.decode.trace import Sample
from dlmlab.network.config import attention_block
from dlmlab.network.cost import forward_flops
from dlmlab.network.kv import KV


@dataclass(frozen=True)
class BlockState:
    """What a cache may look at before a forward.

    `masked` (R, L) bool. `changed` (R, L) bool: the token is not the one whose keys are stored. `start`, `end` (R,):
    the columns of the current block, from the first mask of each row on (its prompt may hold masks too), for a
    block-causal model rounded outwards to whole blocks of its attention.
    """

    masked: Tensor
    changed: Tensor
    start: Tensor
    end: Tensor

    def between(self, first: Tensor | int, last: Tensor | int) -> Tensor:
        """Mark the columns `first` <= c < `last` of every row, (R, L) bool; bounds (R,), or one for all rows."""
        column = torch.arange(self.masked.shape[1], device=self.masked.device)
        first, last = (torch.as_tensor(bound, device=column.device).reshape(-1, 1) for bound in (first, last))
        return ((first <= column) & (column < last)).expand_as(self.masked)


@dataclass(frozen=True)
class Cache:
    """A kind of cache. `refresh`: compute everything again every so many forwards, and at the start of each block.

    `refresh=None` leaves only the start of each block. Raises `ValueError` for a refresh below 1.
    """

    refresh: int | None = None

    def __post_init__(self) -> None:
        limits.whole("refresh", self.refresh, 1, optional=True)

    def due(self, state: BlockState) -> Tensor:
        """Mark what is computed in a forward between two refreshes, (R, L) bool; it covers the masks of the block."""
        raise NotImplementedError

    def begin(self, model, mask_id: int, x: Tensor, valid: Tensor | None) -> "Session":
        """Start a run on the ids `x` (B, L), which the run goes on to fill in place."""
        return Session(self, model, mask_id, x, valid)


@dataclass(frozen=True)
class PrefixCache(Cache):
    """Keep what stands before the block; compute the block and everything after it (Fast-dLLM)."""

    def due(self, state: BlockState) -> Tensor:
        return state.between(state.start, state.masked.shape[1])


@dataclass(frozen=True)
class DualCache(Cache):
    """Keep what stands before and after the block; compute the block (Fast-dLLM)."""

    def due(self, state: BlockState) -> Tensor:
        return state.between(state.start, state.end)


@dataclass(frozen=True)
class DelayedCache(Cache):
    """Keep every token from one forward after it was committed; compute masks and what was just committed
    (dKV-Cache)."""

    def due(self, state: BlockState) -> Tensor:
        return state.masked | state.changed


@dataclass(frozen=True)
class BlockCache(Cache):
    """Keep finished blocks of a block-causal model: exact.

    The last forward of a block still saw masks in it, so its keys are computed once more, together with the first
    forward of the next block. Nothing after the block is computed, and there is nothing to refresh.
    """

    def __post_init__(self) -> None:
        if self.refresh is not None:
            raise ValueError(f"refresh={self.refresh}: BlockCache is exact, leave it None")

    def due(self, state: BlockState) -> Tensor:
        return state.between(state.start, state.end)

    def begin(self, model, mask_id: int, x: Tensor, valid: Tensor | None) -> "Session":
        if attention_block(model.config.attention) is None:
            raise ValueError(f"BlockCache needs attention='block:K', the model has {model.config.attention!r}")
        return BlockSession(self, model, mask_id, x, valid)


@dataclass(frozen=True)
class Forward:
    """One forward: `logits` (R, C, V) at the columns asked for, `open` (R, C) bool where they may be used (None:
    everywhere), `tokens` through the network, `flops`, and `evicted` tokens that left it half-way, summed over rows."""

    logits: Tensor
    tokens: int
    flops: int
    open: Tensor | None = None
    evicted: int = 0


def pack(priority: Tensor) -> Tensor:
    """List the columns of each row with priority above 0, the highest first, then left to right: (R, L) -> (R, q).

    Rows with fewer than q repeat their last one.

    >>> pack(torch.tensor([[0, 1, 1, 2], [0, 1, 0, 0]])).tolist()
    [[3, 1, 2], [1, 1, 1]]
    """
    n = (priority > 0).sum(1, keepdim=True)  # (R, 1)
    order = priority.argsort(dim=1, descending=True, stable=True)
    return order.gather(1, torch.arange(int(n.max()), device=n.device).minimum(n - 1))


class Session:
    """A cache at work in one run: keys and values, for which rows and ids, and since when."""

    def __init__(self, cache: Cache, model, mask_id: int, x: Tensor, valid: Tensor | None):
        self.cache, self.model, self.mask_id, self.x, self.valid = cache, model, mask_id, x, valid
        self.kv, self.rows = None, None
        self.seen = torch.full_like(x, -1)  # the ids whose keys are stored
        self.unit = attention_block(model.config.attention) or 1
        self.pad = torch.zeros_like(x[:, 0]) if valid is None else valid.int().argmax(1)  # (B,) padding on the left
        self.start = self.end = self.pad
        self.age: int | None = None  # forwards since everything was computed; None: never in this block

    def enter(self, start: Tensor, end: Tensor) -> None:
        """Go to the block of columns `start` to `end`, (B,) each. Blocks of attention are counted without padding."""
        self.start = (start - self.pad) // self.unit * self.unit + self.pad
        self.end = (-((self.pad - end) // self.unit) * self.unit + self.pad).clamp(max=self.x.shape[1])
        self.age = None

    def __call__(self, rows: Tensor, columns: Tensor) -> Forward:
        """Predict `columns` (C,) of some rows (R,) of the batch."""
        ids = self.x[rows]
        if self.age is None or self.age == self.cache.refresh:
            self.age = 1
            return self.everything(ids, rows, columns)
        self.age += 1
        self._keep(rows)
        state = BlockState(ids == self.mask_id, ids != self.seen[rows], self.start[rows], self.end[rows])
        due = self.cache.due(state)
        self.seen[rows] = torch.where(due, ids, self.seen[rows])
        return self.some(ids, due, columns)

    def everything(self, ids: Tensor, rows: Tensor, columns: Tensor) -> Forward:
        """Run the whole text and store all keys and values."""
        self.kv, self.rows, self.seen[rows] = KV(), rows, ids
        valid = None if self.valid is None else self.valid[rows]
        logits = self.model(ids, valid, kv=self.kv, logits_to_keep=columns).logits
        return self._forward(logits, ids.shape[1], ids.shape[1])

    def some(self, ids: Tensor, due: Tensor, columns: Tensor) -> Forward:
        """Run the `due` (R, L) columns against the stored keys and values of the others."""
        if bool((due == due[0]).all()):
            at = due[0].nonzero()[:, 0]  # (q,), the same for all rows
            where = torch.searchsorted(at, columns)
            logits = self.model(ids[:, at], kv=self.kv, positions=at, logits_to_keep=where).logits
        else:
            at = pack(due.int())  # (R, q)
            # (R, C): place of a column in the list; a column that is not due in a row gets some place, never read
            where = (at[:, None] == columns[:, None]).int().argmax(-1)
            logits = self.model(ids.gather(1, at), kv=self.kv, positions=at, logits_to_keep=where).logits
        return self._forward(logits, at.shape[-1], len(self.kv))

    def _keep(self, rows: Tensor) -> None:
        """Forget the rows that have left."""
        if len(rows) < len(self.rows):
            self.kv, self.rows = self.kv.copy().select(torch.isin(self.rows, rows)), rows

    def _forward(self, logits: Tensor, q: int, k: int) -> Forward:
        R, C = logits.shape[:2]
        return Forward(logits, R * q, R * forward_flops(self.model.config, q, k, logits=C))


class BlockSession(Session):
    """Keys and values that grow block by block. `finished` holds those of all rows that have not stopped.

    Blocks of rows with different padding begin at different columns: what is final is what lies before all of them,
    and the columns up to the last of their ends are computed.
    """

    def __init__(self, *args):
        super().__init__(*args)
        self.finished, self.finished_rows = KV(), torch.arange(len(self.x), device=self.x.device)
        self.first = 0  # from here on the stored keys are not final

    def enter(self, start: Tensor, end: Tensor) -> None:
        self.first = int(self.start.min())  # the block before: its keys still come from a text with masks
        super().enter(start, end)
        self.kv, self.rows = self.finished, self.finished_rows  # rows that were done early are back

    def everything(self, ids: Tensor, rows: Tensor, columns: Tensor) -> Forward:
        """Run the block before, which is complete now, with the new one; the keys of earlier blocks stay."""
        self._keep(rows)
        last = int(self.end[rows].max())
        new = slice(self.first, last)
        valid = None if self.valid is None else self.valid[rows, new]
        kv = self.kv.copy().truncate(self.first)
        logits = self.model(ids[:, new], valid, kv=kv, logits_to_keep=columns - self.first).logits
        self.kv, self.finished, self.finished_rows = kv, kv.copy(), rows
        return self._forward(logits, last - self.first, last)


def replay(out: Sample, sampler, mask_id: int, row: int = 0) -> Tensor:
    """Work out which columns each forward of a run computed, (S, L) bool, from its trace alone.

    Counts what `sampler.cache` asked for; FOCUS then drops some of these on the way. Raises `ValueError` for a
    `BlockCache`, whose columns depend on the model.
    """
    cache, states = sampler.cache, torch.stack(out.trace.states(row)[:-1])  # (S, L)
    if isinstance(cache, BlockCache) or sampler.aligned:
        raise ValueError("replay knows no BlockCache and no aligned blocks: their columns depend on model and padding")
    computed = torch.ones_like(states, dtype=torch.bool)
    if cache is None:
        return computed
    G = states.shape[1] - out.prompt_length
    length, masks = sampler.block_length or max(G, 1), states == mask_id  # (S, L)
    seen, current, start, age = states[0], -1, states.new_zeros(1), 0
    for s, (ids, masked) in enumerate(zip(states, masks, strict=True)):
        first = masked.int().argmax()[None]  # (1,)
        block = max(int(first) - out.prompt_length, 0) // length
        if block != current or age == cache.refresh:
            start = first if block != current else start
            current, age, seen = block, 1, ids
            continue
        age += 1
        stop = torch.tensor([min(out.prompt_length + (block + 1) * length, states.shape[1])])
        computed[s] = cache.due(BlockState(masked[None], (ids != seen)[None], start, stop))[0]
        seen = torch.where(computed[s], ids, seen)
    return computed
