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
    """Give the score of the monitor for every question under a template: p(end) at the first open place, in the first
    forward. A causal model gives it at the last token that it reads."""
    ids, given = _read(model, questions, name)
    open_at = (given == policy.MASK).int().argmax(1) + questions.shape[1]  # (B,)
    at = torch.full_like(open_at, ids.shape[1] - 1) if model.config.attention == "causal" else open_at
    p = model(ids, logits_to_keep=at[:, None]).logits[:, 0].softmax(-1)[:, policy.END]
    return [round(v, 4) for v in p.tolist()]


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
