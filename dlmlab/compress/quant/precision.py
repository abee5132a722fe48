"""Precision over a run: how many bits a forward gets, by its step, by the share of masks, or by confidence.

    Scheduled({4: model4, 8: model8, 16: model}, ByShare((16, 4, 4)))   # early forwards precise, late ones coarse

Decisions
* A rule maps a `Moment` to a level, and a level is a key of the models: bits, a `QSpec`, anything. Rows of one batch
  are at different moments, so each row goes through the model of its own level.
* `step` counts forwards since the answer was all masks; `share` is what is left of the masks; `confidence` is the mean
  largest probability that the row's last forward gave to what was still masked (0 before the first).
* Rules are compared at equal mean bits over the *phases* (`assignments`). Under a threshold a run has three forwards,
  which may jump over a phase, so `Scheduled.mean_bits` says what was really used.
* A schedule alone never saves memory: every level it may ask for must be there. Two sets cost their sum, one nested
  set (`nested.nest`) costs its largest (`stored_bits`).

No published method chooses bits by the step of a text diffusion model; these are this course's readings of the idea.
"""

import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.compress.quant.activation import token_classes
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.network.model import LLaDAOutput, pick


@dataclass(frozen=True)
class Moment:
    """Where one row is in its run."""

    step: int
    share: float
    confidence: float


Rule = Callable[[Moment], Hashable]


@dataclass(frozen=True)
class BySteps:
    """Cut a run of `steps` forwards into equal phases, one for each of the `levels`; later forwards get the last."""

    levels: Sequence[Hashable]
    steps: int

    def __post_init__(self) -> None:
        _check_levels(self.levels)
        limits.whole("steps", self.steps, 1)

    def __call__(self, moment: Moment) -> Hashable:
        return self.levels[min(moment.step * len(self.levels) // self.steps, len(self.levels) - 1)]


@dataclass(frozen=True)
class ByShare:
    """Cut the share of masks, from 1 down to 0, into equal phases, one for each of the `levels`.

    >>> ByShare((16, 8, 4))(Moment(step=0, share=0.5, confidence=0.0))
    8
    """

    levels: Sequence[Hashable]

    def __post_init__(self) -> None:
        _check_levels(self.levels)

    def __call__(self, moment: Moment) -> Hashable:
        K = len(self.levels)
        return self.levels[min(int((1 - moment.share) * K + 1e-9), K - 1)]


@dataclass(frozen=True)
class ByConfidence:
    """Take a level by the confidence of the last forward: `levels[0]` below `cuts[0]`, and so on upwards."""

    levels: Sequence[Hashable]
    cuts: Sequence[float]

    def __post_init__(self) -> None:
        _check_levels(self.levels)
        if len(self.cuts) != len(self.levels) - 1 or list(self.cuts) != sorted(self.cuts):
            raise ValueError(f"cuts={self.cuts} must be {len(self.levels) - 1} rising confidences between the levels")

    def __call__(self, moment: Moment) -> Hashable:
        return self.levels[bisect_right(self.cuts, moment.confidence)]


def _check_levels(levels: Sequence[Hashable]) -> None:
    if not levels:
        raise ValueError("levels must name a precision for at least one phase")


def assignments(choices: Sequence[int] = (4, 8, 16), phases: int = 3) -> dict[Fraction, list[tuple[int, ...]]]:
    """List every assignment of bits to phases by its mean bits: what may be compared with each other.

    >>> assignments()[Fraction(8)]
    [(4, 4, 16), (4, 16, 4), (8, 8, 8), (16, 4, 4)]
    """
    limits.whole("phases", phases, 1)
    found: dict[Fraction, list[tuple[int, ...]]] = {}
    for bits in itertools.product(choices, repeat=phases):
        found.setdefault(Fraction(sum(bits), phases), []).append(bits)
    return found


def stored_bits(levels: Iterable[int], *, nested: bool = False) -> int:
    """Bits a weight in memory for a schedule: the sum of the levels it uses, or the largest when they are nested.

    >>> stored_bits((8, 4, 4)), stored_bits((8, 4, 4), nested=True)
    (12, 8)
    """
    used = set(levels)
    return max(used) if nested else sum(used)


class Scheduled:
    """Several models as one: every row of a forward goes through the model that the rule names.

    Called like a model, by the sampler too, without a cache. A run begins where the answers of all rows are masks; rows
    are told apart by their prompts, so equal prompts have one history. `used` counts row-forwards by level. Raises
    `ValueError` for a level without a model.
    """

    def __init__(self, models: Mapping[Hashable, object], rule: Rule, *, answer_length: int = ANSWER_LENGTH):
        self.models, self.rule, self.answer_length = dict(models), rule, answer_length
        first = next(iter(self.models.values()))
        self.config, self.device = first.config, first.device
        self.step, self.used, self.confidence = 0, Counter(), {}

    def __call__(self, ids: Tensor, attention_mask: Tensor | None = None, **options) -> LLaDAOutput:
        classes = token_classes(ids, self.config.mask_token_id, real=attention_mask, answer_length=self.answer_length)
        share = (classes == 2).sum(1) / self.answer_length  # (B,)
        if bool((share >= 1).all()):
            self.step, self.confidence = 0, {}
        keys = [tuple(row[c == 0].tolist()) for row, c in zip(ids, classes, strict=True)]
        levels = [
            self.rule(Moment(self.step, s, self.confidence.get(key, 0.0)))
            for s, key in zip(share.tolist(), keys, strict=True)
        ]
        if unknown := set(levels) - set(self.models):
            raise ValueError(f"the rule asks for {sorted(map(str, unknown))}; there are models for {list(self.models)}")
        logits = self._run(ids, attention_mask, levels, options)
        self.step += 1
        self.used.update(levels)
        self._remember(logits, classes, keys, options.get("logits_to_keep"))
        return LLaDAOutput(logits=logits)

    def _run(self, ids: Tensor, attention_mask: Tensor | None, levels: list, options: dict) -> Tensor:
        logits = None  # (B, q, V)
        for level in dict.fromkeys(levels):
            rows = torch.tensor([i for i, other in enumerate(levels) if other == level], device=ids.device)
            part = self.models[level](ids[rows], None if attention_mask is None else attention_mask[rows], **options)
            logits = part.logits.new_empty(len(ids), *part.logits.shape[1:]) if logits is None else logits
            logits[rows] = part.logits
        return logits

    def _remember(self, logits: Tensor, classes: Tensor, keys: list, keep) -> None:
        masked = (classes if keep is None else pick(classes, keep)) == 2  # (B, q)
        top = logits.softmax(-1).amax(-1).masked_fill(~masked, 0.0)
        mean = top.sum(1) / masked.sum(1).clamp(min=1)
        self.confidence |= dict(zip(keys, mean.tolist(), strict=True))

    @property
    def mean_bits(self) -> float:
        """Mean of the levels over row-forwards so far (levels must be numbers)."""
        return sum(level * n for level, n in self.used.items()) / sum(self.used.values())
