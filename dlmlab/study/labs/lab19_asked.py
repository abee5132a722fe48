"""Lab 19: ask a model under a template, and say what became of the question and what a monitor sees."""

import torch
from torch import Tensor

from dlmlab.decode import autoregressive, sampling
from dlmlab.decode.commit import Threshold
from dlmlab.measure.outcome import outcome
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.labs import lab19_policy as policy


def judged(question: Tensor, given: Tensor, answer: Tensor) -> str:
    """Judge an answer window (G,) to a question (4,): `given` before the model wrote, `answer` after.

    The verifier is exact: the true answer is a function of the question. See `dlmlab.outcome`.
    """
    correct = torch.equal(answer, policy.answer(question[None])[0])
    return outcome(answer[given == policy.MASK], policy.END, correct)


def _read(model: LLaDAModelLM, questions: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Give what a model reads, question and given part (B, L), and the windows (B, G): a causal one reads a prefix."""
    given = policy.windows(questions, name)
    kept = len(policy.TEMPLATES[name]) if model.config.attention == "causal" else policy.WINDOW
    return torch.cat([questions, given[:, :kept]], 1), given


@torch.inference_mode()
def scores(model: LLaDAModelLM, questions: Tensor, name: str) -> list[float]:
    """Give the score of the monitor for every question under a template: the log odds of the end mark at the first open
    place, in the first forward. A causal model gives it at the last token that it reads.

    Log odds, log p - log (1 - p), order questions as p does; but a p next to 0 or to 1 keeps its digits.
    """
    ids, given = _read(model, questions, name)
    open_at = (given == policy.MASK).int().argmax(1) + questions.shape[1]  # (B,)
    at = torch.full_like(open_at, ids.shape[1] - 1) if model.config.attention == "causal" else open_at
    logits = model(ids, logits_to_keep=at[:, None]).logits[:, 0].double()  # (B, V)
    others = logits.index_fill(1, torch.tensor([policy.END]), -torch.inf)
    return [round(v, 3) for v in (logits[:, policy.END] - others.logsumexp(1)).tolist()]


@torch.inference_mode()
def ask(model: LLaDAModelLM, questions: Tensor, name: str) -> tuple[list[str], Tensor]:
    """Ask every question under a template, threshold 0.9 or left to right: outcomes and answer windows (B, G)."""
    ids, given = _read(model, questions, name)
    whole = torch.ones_like(ids, dtype=torch.bool)
    more = questions.shape[1] + policy.WINDOW - ids.shape[1]
    if model.config.attention == "causal":
        out = autoregressive.sample(model, ids, attention_mask=whole, gen_length=more)
    else:
        sampler = sampling.Sampler(commit=Threshold(0.9))
        out = sampling.sample(model, ids, attention_mask=whole, gen_length=0, sampler=sampler)
    answers = out.ids[:, questions.shape[1] :]
    return [judged(q, g, x) for q, g, x in zip(questions, given, answers, strict=True)], answers


def told(questions: Tensor, answers: Tensor) -> Tensor:
    """Say which answer windows (B, G) hold all three digits of the true answer, whatever else is in them: (B,) bool."""
    return (answers == policy.answer(questions))[:, : policy.SOLUTION : 2].all(1)


def ends(questions: Tensor, name: str, answers: Tensor) -> Tensor:
    """Count the end marks that were written where a true answer has a token and the template left it open: (B,)."""
    wrote = (answers == policy.END) & (policy.windows(questions, name) == policy.MASK)
    return wrote[:, : policy.SOLUTION].sum(1)
