"""What may become of a token after its commit: the second plug-in of the decode loop, beside the commit rule.

Decisions
* Without an edit rule a committed token is never changed. With one it may be replaced or masked again, in the current
  block only, and the rule says how often: a block takes at most `extra` forwards more than it would take without.
* A forward over a block without masks costs one of these, and so does each token that is masked again, since it has to
  be written again. Where masking again would cost more than is left, the least probable tokens go first. So the loop
  ends however often a model changes its mind. Replacing is free: it happens in forwards that are run anyway.
* A full block is read once more, until a forward changes nothing or nothing is left to spend.
* Only the current block changes, so an exact cache of finished blocks goes with every rule.
* Given tokens are never edited; what is written comes from the same proposal as every commit.
* An `Exchange` needs no bound of its own: for every token that it masks again one mask more is written in the same
  forward, so the schedule of the commit rule stays, and with it the number of forwards.

A masked diffusion model has no loss at visible positions: unless it was trained to edit, its belief there is not
calibrated, and edits may do harm.

Sources: LLaDA2.1, arXiv 2602.08676 (token editing; thresholds and the bound of 16 forwards are those of its released
code); Token-to-Mask, arXiv 2604.18738 and 2605.26436 (masking again). Own implementation.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dlmlab import limits


@dataclass(frozen=True)
class Written:
    """What an edit rule may look at after a forward: the block as that forward read it.

    Shapes (R, C): `ids` what stands there, `editable` bool, `present` the probability of that token now, `x0` what the
    model would write there now, `confidence` the probability of that; `masked` bool where a mask may be written now,
    `stored` the confidence with which a token was written. `due` (R,): how many masks are to be written by the plan.
    """

    ids: Tensor
    editable: Tensor
    present: Tensor
    x0: Tensor
    confidence: Tensor
    masked: Tensor
    stored: Tensor
    due: Tensor
    generator: torch.Generator | None = None


@dataclass(frozen=True)
class Edit:
    """A rule that changes committed tokens. `extra`: the most forwards that a block may take on top.

    Raises `ValueError` for an extra below 1: the loop would never read a full block.
    """

    tau: float = 0.9
    extra: int = 16

    def __post_init__(self) -> None:
        limits.number("tau", self.tau, 0, 1)
        limits.whole("extra", self.extra, 1)

    def __call__(self, written: Written) -> tuple[Tensor, Tensor]:
        """Mark what is replaced by `x0` and what is masked again, (R, C) bool each; only editable places count."""
        raise NotImplementedError


@dataclass(frozen=True)
class Replace(Edit):
    """Replace a token by another one whose probability is more than `tau` (LLaDA2.1's token-to-token editing).

    `tau=0` replaces whatever the model would now write otherwise; None instead of the rule turns editing off.
    """

    def __call__(self, written: Written) -> tuple[Tensor, Tensor]:
        sure = written.editable & (written.x0 != written.ids) & (written.confidence > self.tau)
        return sure, written.editable & ~written.editable


@dataclass(frozen=True)
class Remask(Edit):
    """Mask a token again whose own probability has fallen below `tau` (Token-to-Mask, by probability)."""

    tau: float = 0.1

    def __call__(self, written: Written) -> tuple[Tensor, Tensor]:
        return written.editable & ~written.editable, written.editable & (written.present < self.tau)


@dataclass(frozen=True)
class Exchange(Edit):
    """A rule that gives tokens up for masks: as many more masks are written in the forward that masks tokens again.

    It takes no forward on top, needs a commit rule with a plan, and replaces nothing. At most as many tokens can be
    given up as masks are left over, the least probable first. A subclass says which: the second mark of the call.
    """

    tau: float = field(default=0.0, init=False, repr=False)
    extra: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Nothing to refuse: there is no threshold and no forward on top."""
