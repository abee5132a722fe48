"""What a search may look at: problems of the validation split, under masks drawn once.

Decisions
* The split stands in one place, and a search gets its numbers from here alone; the test split is read once, when the
  search is over, by whoever reports (`choose_then_test`).
* Common random numbers: the masks are drawn once, so two models are compared under the same ones.
* Likelihood ranks models (`nats`); answers are needed where the decoding is chosen, too: the likelihood does not know
  how many tokens a forward commits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.decode.run import decode
from dlmlab.decode.sampling import Sampler
from dlmlab.objective import noise
from dlmlab.task import tasks
from dlmlab.task.layout import decode_answer, encode_prompt, encode_rows
from dlmlab.task.tokenizer import build_tokenizer

SPLIT = "validation"
CHUNK = 32  # problems of about one length that are judged together


@dataclass(frozen=True)
class Answers:
    """Verdicts and forwards, one a problem."""

    correct: list[bool]
    nfe: list[int]

    @property
    def wrong(self) -> float:
        return 1 - sum(self.correct) / len(self.correct)

    @property
    def forwards(self) -> float:
        return sum(self.nfe) / len(self.nfe)


@dataclass(frozen=True)
class Validation:
    """The first `problems` of the validation split, each under `draws` masks from `seed`."""

    problems: int = 128
    draws: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        limits.whole("problems", self.problems, 1)
        limits.whole("draws", self.draws, 1)

    @cached_property
    def texts(self) -> list[tasks.Problem]:
        return tasks.load_split(SPLIT)[: self.problems]

    @cached_property
    def _rows(self) -> tuple:
        rows = encode_rows(build_tokenizer(), self.texts, side="right")
        masks = noise.count_masks(rows.answer, draws=self.draws, generator=torch.Generator().manual_seed(self.seed))
        return rows.x0, rows.valid, *masks

    @torch.inference_mode()
    def nats(self, model, size: int | None = None) -> list[float]:
        """Bound the negative log-likelihood of each solution given its question, in nats, the mean over the draws.

        `size`: of the first so many problems only, each under its own masks all the same.
        """
        x0, valid, masked, weight = (rows[:size] for rows in self._rows)
        nats = torch.zeros(len(x0), dtype=torch.float64)
        for at in valid.sum(1).argsort(stable=True).split(CHUNK):
            L = int(valid[at].sum(1).max())  # short problems together: padding is work, too
            losses = noise.masked_losses(model, x0[at, :L], masked[at, :, :L], valid=valid[at, :L], batch_size=96)
            nats[at] = (weight[at] * losses.sum(-1)).mean(1)
        return nats.tolist()

    def loss(self, model) -> float:
        """Mean of `nats`."""
        found = self.nats(model)
        return sum(found) / len(found)

    def answers(self, model, sampler: Sampler) -> Answers:
        """Answer the problems."""
        tokenizer = build_tokenizer()
        prompts = [encode_prompt(tokenizer, problem.question) for problem in self.texts]
        correct, nfe = [False] * len(prompts), [0] * len(prompts)
        for at in _by_length(prompts).split(CHUNK):
            out = decode(model, [prompts[i] for i in at.tolist()], sampler=sampler)
            for i, ids, forwards in zip(at.tolist(), out.answers, out.trace.nfe, strict=True):
                verdict = tasks.verify(self.texts[i].question, decode_answer(tokenizer, ids))
                correct[i], nfe[i] = verdict.correct, forwards
        return Answers(correct, nfe)


def _by_length(prompts: Sequence[Sequence[int]]) -> Tensor:
    return torch.tensor([len(prompt) for prompt in prompts]).argsort(stable=True)


def choose_then_test(
    candidates: Sequence[Any], validate: Callable[[Any], float], test: Callable[[Any], float]
) -> tuple[int, float]:
    """Choose the candidate with the least loss on validation problems, the first of equals; then test it, and only it.

    Returns its place among the candidates and its loss on the test. Testing all and reporting the least would choose on
    the test. Raises `ValueError` for no candidates.
    """
    if not candidates:
        raise ValueError("no candidates to choose from")
    losses = [validate(candidate) for candidate in candidates]
    best = min(range(len(candidates)), key=losses.__getitem__)
    return best, test(candidates[best])
