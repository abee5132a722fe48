"""Do errors accumulate? Two models along one run, and two runs side by side.

Decisions
* *Teacher-forced*: both models read the states of the first one's run. What differs is the error of one forward, with
  no past: KL on masked positions, how often the best token changes, and how much of what the first model committed the
  other one would have committed (frontier flips).
* *Free-running*: each model goes its own way from the same prompt. Distances of the texts are counted step by step, and
  in the end the share of tokens that differ.
* A run may be chaotic by itself. So every claim needs a twin of the first model whose logits are disturbed by noise of
  the same size (`Jittered`): what quantization does beyond that is its own.
* Ties decide many commits in float32: compare texts, not orders.

Sources: FAIR-Calib, arXiv 2606.06547 (frontier flips, post-commit mismatch).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.decode.trace import Sample
from dlmlab.network.model import LLaDAOutput


@dataclass(frozen=True)
class Forced:
    """Errors of single forwards, one entry a step, averaged over the rows that took it: `kl` nats a masked token,
    `flips` and `frontier` shares, `rows` counted."""

    kl: list[float]
    flips: list[float]
    frontier: list[float]
    rows: list[int]


@dataclass(frozen=True)
class Free:
    """Two runs of the same prompts: `distance`, the share of answer tokens that differ after each step (mean over rows,
    a finished row stays as it is); `first`, the step after which each row differs, None if never; `mismatch`, the
    share of tokens that differ in the end, of each row."""

    distance: list[float]
    first: list[int | None]
    mismatch: list[float]


@torch.inference_mode()
def teacher_forced(
    model, other, out: Sample, *, rows: Sequence[int] | None = None, block_length: int | None = None
) -> Forced:
    """Compare `other` with `model` on every state of a run of `model`.

    `rows`: only these of the batch. `block_length`: of the sampler that made the run, None for one block. A step's
    frontier is what `model` committed; that of `other` is as many positions of the same block, its surest ones, with
    its best tokens.
    """
    sums: list[Tensor] = []
    for row in range(len(out.ids)) if rows is None else rows:
        states = torch.stack(out.trace.states(row)[:-1])  # (S, L); the last one is never read
        if not out.trace.order(row):
            continue
        valid = _real(out, row).expand(states.shape)
        mine, theirs = (_log_probabilities(m, states, valid) for m in (model, other))  # (S, L, V)
        masked = (states == model.config.mask_token_id) & valid
        kl = torch.where(mine.isneginf(), 0.0, mine.exp() * (mine - theirs)).sum(-1)  # (S, L)
        flips = mine.argmax(-1) != theirs.argmax(-1)
        n = masked.sum(1).clamp(min=1)
        for step, columns in enumerate(out.trace.order(row)):
            while len(sums) <= step:
                sums.append(torch.zeros(4, dtype=torch.float64))
            where = masked[step]
            frontier = _frontier_flips(theirs[step], where, columns, out, row, block_length)
            found = (kl[step][where].sum() / n[step], (flips[step] & where).sum() / n[step], frontier, 1)
            sums[step] += torch.tensor([float(x) for x in found], dtype=torch.float64)
    means = [(s[:3] / s[3]).tolist() for s in sums]
    return Forced(*([m[k] for m in means] for k in range(3)), [int(s[3]) for s in sums])


def _real(out: Sample, row: int) -> Tensor:
    """Which columns of a row are not padding, (L,); padding on the left holds end marks."""
    prompt = out.trace.start[row, : out.prompt_length]
    pad = int((prompt != out.trace.eos_id).int().cumsum(0).eq(0).sum())
    return torch.arange(out.ids.shape[1]) >= pad


def _log_probabilities(model, states: Tensor, valid: Tensor) -> Tensor:
    logits = model(states, None if bool(valid.all()) else valid).logits.clone()
    logits[..., model.config.mask_token_id] = -torch.inf
    return logits.log_softmax(-1)


def _frontier_flips(
    log_p: Tensor, masked: Tensor, columns: list[int], out: Sample, row: int, block_length: int | None
) -> float:
    if not columns:
        return 0.0
    end = log_p.shape[0]
    if block_length is not None:
        end = out.prompt_length + -(-(max(columns) + 1 - out.prompt_length) // block_length) * block_length
    sure, token = log_p.max(-1)
    sure = sure.masked_fill(~masked, -torch.inf)
    sure[end:] = -torch.inf
    surest = sure.sort(descending=True, stable=True).indices[: len(columns)].tolist()
    same = sum(int(token[c]) == int(out.ids[row, c]) for c in surest if c in set(columns))
    return 1 - same / len(columns)


def free_running(a: Sample, b: Sample) -> Free:
    """Compare two runs of the same prompts, each on its own. Raises `ValueError` for different batches."""
    if a.ids.shape != b.ids.shape or not torch.equal(a.trace.start, b.trace.start):
        raise ValueError(f"need two runs of the same prompts, got batches {tuple(a.ids.shape)}, {tuple(b.ids.shape)}")
    limits.whole("answer length", a.ids.shape[1] - a.prompt_length, 1)
    rows = []
    for row in range(len(a.ids)):
        pair = [[s[a.prompt_length :] for s in x.trace.states(row)] for x in (a, b)]
        steps = max(map(len, pair))
        one, two = (torch.stack(states + states[-1:] * (steps - len(states))) for states in pair)
        rows.append((one != two).double().mean(1)[1:])  # (steps,), after each step
    longest = max(map(len, rows))
    distance = torch.stack([torch.cat([d, d[-1:].expand(longest - len(d))]) for d in rows])  # (B, longest)
    first = [int((d > 0).int().argmax()) + 1 if bool((d > 0).any()) else None for d in rows]
    return Free(distance.mean(0).tolist(), first, [float(d[-1]) for d in rows])


class Jittered:
    """A model whose logits are disturbed by Gaussian noise of `size` times their root mean square, row by row.

    Called like the model, by the sampler too. Raises `ValueError` for a size below 0.
    """

    def __init__(self, model, size: float, generator: torch.Generator):
        limits.number("size", size, 0)
        self.model, self.size, self.generator = model, size, generator
        self.config, self.device = model.config, model.device

    def __call__(self, ids: Tensor, attention_mask: Tensor | None = None, **options) -> LLaDAOutput:
        logits = self.model(ids, attention_mask, **options).logits
        spread = logits.square().mean(-1, keepdim=True).sqrt()
        noise = torch.randn(logits.shape, generator=self.generator).to(logits)
        return LLaDAOutput(logits=logits + self.size * spread * noise)


def relative_size(model, other, ids: Tensor, attention_mask: Tensor | None = None) -> float:
    """How far the logits of `other` are from those of `model`, relative: the `size` of a jitter as large."""
    with torch.inference_mode():
        mine, theirs = (m(ids, attention_mask).logits for m in (model, other))
        real = torch.ones_like(ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        return float((theirs - mine)[real].norm() / mine[real].norm())
