"""Which split a problem belongs to, so that none to train on is one to be judged by.

Decisions
* The split is a hash of the *skeleton*, the frames and numbers of a question, names and things blanked. So nothing has
  to be remembered, and a question with other names stays where it is.
* New splits hash the skeleton's `core`: without distractors, the sentences that do not matter. Then a question stays
  where it is, too, when such a sentence is added, dropped or exchanged.
* The splits in `data/mini-gsm`, and the models of the course, are older: their rule hashes distractors as well, so a
  problem of a split may occur in training without its distractor, or with another one. Their recipe,
  `data/mini-gsm/splits.toml`, keeps that rule; `dlmlab.study.nb00_leak` counts these problems and asks what they did.
* Whoever trains follows the rule of the split that will judge. The two rules do not mix: a stream made by one may hold
  whole problems that the other holds out.
"""

import hashlib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dlmlab.paths import DATA
from dlmlab.task.frames import DISTRACTORS

HELD_OUT = {"test": 0, "validation": 1, "calibration": 2}  # buckets of 64 that the training stream never sees
RULES = ("core", "skeleton")  # what is hashed: a skeleton without its distractors, or all of it
SPLITS = DATA / "mini-gsm"  # the splits of the course
_DISTRACTOR = re.compile(rf" (?:{'|'.join(re.escape(frame.text) for frame in DISTRACTORS)})/[0-9]+(?= )")


@dataclass(frozen=True)
class SplitRecipe:
    """How a folder of splits is made: from which `seed`, by which of `RULES`. Raises `ValueError` for another rule."""

    seed: int = 0
    rule: str = "core"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule {self.rule!r} is unknown; known: {', '.join(RULES)}")

    @classmethod
    def read(cls, folder: Path = SPLITS) -> "SplitRecipe":
        """Read `splits.toml` of a folder."""
        return cls(**tomllib.loads((folder / "splits.toml").read_text(encoding="utf-8")))

    @property
    def text(self) -> str:
        """Write it as `splits.toml`."""
        return f'seed = {self.seed}\nrule = "{self.rule}"\n'


@cache
def rule_of_the_course() -> str:
    """Name the rule of the splits in `data/mini-gsm`."""
    return SplitRecipe.read().rule


def core(skeleton: str) -> str:
    """Leave the distractors out of a skeleton.

    >>> core("{n} buys {a} {o} ./12 it is {a} degrees outside ./30 then {n} takes {a} more ./5 how many ?")
    '{n} buys {a} {o} ./12 then {n} takes {a} more ./5 how many ?'
    """
    return _DISTRACTOR.sub("", skeleton)  # an opening stands before each of them, and the question last


def hashed(skeleton: str, rule: str | None = None) -> str:
    """Return what a rule hashes of a skeleton; None: the rule of the course's splits."""
    rule = rule_of_the_course() if rule is None else SplitRecipe(rule=rule).rule
    return core(skeleton) if rule == "core" else skeleton


def split_of(skeleton: str, rule: str | None = None) -> str:
    """Name the split a skeleton belongs to, by the first eight bytes of the SHA-256 of what is `hashed`, modulo 64.

    Raises `ValueError` for an unknown rule.
    """
    digest = hashlib.sha256(hashed(skeleton, rule).encode()).digest()
    bucket = int.from_bytes(digest[:8], "big") % 64
    return next((name for name, held in HELD_OUT.items() if held == bucket), "train")
