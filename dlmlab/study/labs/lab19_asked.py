"""Lab 19: ask a model under a template, and say what became of the question and what a monitor sees."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dlmlab.decode import autoregressive, sampling
from dlmlab.decode.commit import Threshold
from dlmlab.measure.outcome import outcome
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.labs import lab19_policy as policy
from dlmlab.task import layout, tasks

BATCH = 64


def judged(question: str, given: Tensor, answer: Tensor) -> str:
    """Judge an answer window, (G,) ids each: `given` before the model wrote, `answer` after (`dlmlab.outcome`)."""
    tokenizer = policy.tokenizer()
    correct = tasks.verify(question, layout.decode_answer(tokenizer, answer.tolist())).correct
    return outcome(answer[given == tokenizer.mask_token_id], tokenizer.eos_token_id, correct)


def readable(answer: Tensor) -> str:
    """Write an answer window as text, with `_` for masks and `end` for end marks."""
    tokenizer = policy.tokenizer()
    names = {tokenizer.mask_token: "_", tokenizer.eos_token: "end"}
    return " ".join(names.get(token, token) for token in tokenizer.convert_ids_to_tokens(answer.tolist()))


def _batches(problems: Sequence[tasks.Problem], name: str, causal: bool):
    """Yield questions of like length under a template: which (list), ids and real places (B, L), given windows (B, G).

    A masked model reads the whole window, a causal one what is given at its beginning.
    """
    tokenizer, G = policy.tokenizer(), policy.WINDOW
    prompts = [layout.encode_prompt(tokenizer, problem.question) for problem in problems]
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        given = torch.stack([policy.window(problems[i], name) for i in rows])
        kept = int((given[0] != tokenizer.mask_token_id).sum()) if causal else G
        ids, valid = sampling.left_pad(
            [prompts[i] + g[:kept].tolist() for i, g in zip(rows, given, strict=True)], tokenizer.eos_token_id, "cpu"
        )
        yield rows, ids, valid, given


def _first_open(model: LLaDAModelLM, ids: Tensor, valid: Tensor, given: Tensor) -> Tensor:
    """Give p(end) at the first open place of each window in one forward, (B,)."""
    end, mask_id, G = model.config.eos_token_id, model.config.mask_token_id, given.shape[1]
    at = (given == mask_id).int().argmax(1) + ids.shape[1] - G  # (B,)
    if model.config.attention == "causal":
        at = torch.full_like(at, ids.shape[1] - 1)  # the last token read predicts the first that is open
    return model(ids, valid, logits_to_keep=at[:, None]).logits[:, 0].softmax(-1)[:, end]


@torch.inference_mode()
def scores(model: LLaDAModelLM, problems: Sequence[tasks.Problem], name: str) -> list[float]:
    """Give the score of the monitor for every problem under a template: p(end) at the first open place."""
    found = [0.0] * len(problems)
    for rows, ids, valid, given in _batches(problems, name, model.config.attention == "causal"):
        for i, p in zip(rows, _first_open(model, ids, valid, given).tolist(), strict=True):
            found[i] = round(p, 4)
    return found


@torch.inference_mode()
def ask(model: LLaDAModelLM, problems: Sequence[tasks.Problem], name: str) -> tuple[list[str], list[Tensor]]:
    """Ask every problem under a template, threshold 0.9 or left to right: outcomes and answer windows (G,)."""
    mask_id, G = model.config.mask_token_id, policy.WINDOW
    outcomes, answers = [""] * len(problems), [torch.empty(0)] * len(problems)
    causal, sampler = model.config.attention == "causal", sampling.Sampler(commit=Threshold(0.9))
    for rows, ids, valid, given in _batches(problems, name, causal):
        if causal:
            kept = int((given[0] != mask_id).sum())
            out = autoregressive.sample(model, ids, attention_mask=valid, gen_length=G - kept)
        else:
            out = sampling.sample(model, ids, attention_mask=valid, gen_length=0, sampler=sampler)
        for i, g, x in zip(rows, given, out.ids[:, -G:], strict=True):
            outcomes[i], answers[i] = judged(problems[i].question, g, x), x
    return outcomes, answers
