"""Exact match with an honest interval, by number of steps.

The Wilson interval (Wilson 1927; scipy's `binomtest`) stays inside [0, 1] and is right near 0 and 1, where accuracies
of this task live.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binomtest
from transformers import PreTrainedTokenizerBase

from dlmlab.decode import sampling
from dlmlab.decode.run import decode
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.task.layout import decode_answer, encode_prompt, encode_solution
from dlmlab.task.tasks import Problem, Verdict, verify


@dataclass(frozen=True)
class Proportion:
    """`hits` of `n` with a 95 % Wilson interval."""

    hits: int
    n: int

    @classmethod
    def of(cls, verdicts: str) -> "Proportion":
        """Count the ones of a string of digits."""
        return cls(verdicts.count("1"), len(verdicts))

    @property
    def value(self) -> float:
        return self.hits / self.n

    @property
    def interval(self) -> tuple[float, float]:
        ci = binomtest(self.hits, self.n).proportion_ci(0.95, method="wilson")
        return float(ci.low), float(ci.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1%} [{low:.1%}, {high:.1%}]"


def digits(verdicts: Iterable[bool]) -> str:
    """Pack verdicts into one digit a problem.

    >>> digits([True, False, True])
    '101'
    """
    return "".join(str(int(verdict)) for verdict in verdicts)


@dataclass(frozen=True)
class Result:
    """Answers to problems and what they cost: verdicts and NFE by problem, sums for the rest."""

    problems: Sequence[Problem]
    answers: list[str]
    verdicts: list[Verdict]
    nfe: list[int]
    tokens_through: int
    flops: int
    seconds: float

    @property
    def exact_match(self) -> Proportion:
        """Share of problems whose final answer is right."""
        return Proportion(sum(v.correct for v in self.verdicts), len(self.verdicts))

    @property
    def correct(self) -> str:
        """One digit a problem, as tables store verdicts."""
        return digits(v.correct for v in self.verdicts)

    @property
    def clean(self) -> Proportion:
        """Share of problems with the right answer and every equation right, asked for, and present."""
        return Proportion(sum(v.clean for v in self.verdicts), len(self.verdicts))

    def by_steps(self) -> dict[int, Proportion]:
        """Exact match by number of equations in the true solution."""
        groups: dict[int, list[bool]] = {}
        for problem, verdict in zip(self.problems, self.verdicts, strict=True):
            groups.setdefault(problem.steps, []).append(verdict.correct)
        return {k: Proportion(sum(v), len(v)) for k, v in sorted(groups.items())}

    @property
    def mean_nfe(self) -> float:
        return sum(self.nfe) / len(self.nfe)


def accuracy(
    model,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    *,
    sampler: sampling.Sampler | None = None,
    gen_length: int = ANSWER_LENGTH,
    batch_size: int = 64,
    generator: torch.Generator | None = None,
) -> Result:
    """Answer problems and judge the answers.

    A causal model is decoded left to right with its cache (`sampler` may then only set the temperature); any other
    with `sampler`. Problems are batched by length of prompt and returned in their own order. Raises `ValueError` for
    no problems.
    """
    if not problems or batch_size < 1:
        raise ValueError(f"no problems, or a batch of none: {len(problems)} problems, batch_size={batch_size}")
    prompts = [encode_prompt(tokenizer, p.question) for p in problems]
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    answers, nfe, costs = [""] * len(prompts), [0] * len(prompts), [0, 0, 0.0]
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        out = decode(model, [prompts[i] for i in rows], sampler=sampler, gen_length=gen_length, generator=generator)
        for i, ids, forwards in zip(rows, out.answers, out.trace.nfe, strict=True):
            answers[i], nfe[i] = decode_answer(tokenizer, ids), forwards
        costs = [
            a + b for a, b in zip(costs, (out.trace.tokens_through, out.trace.flops, out.trace.seconds), strict=True)
        ]
    verdicts = [verify(p.question, a) for p, a in zip(problems, answers, strict=True)]
    return Result(problems, answers, verdicts, nfe, *costs)


@torch.inference_mode()
def next_result(model, tokenizer: PreTrainedTokenizerBase, problems: Sequence[Problem]) -> dict[str, Proportion]:
    """Probe single calculations: how often the most likely next result is the right one, by operator.

    Everything before a result is given; a diffusion model sees masks from the result on, a causal one nothing. So
    errors do not add up over the steps of a solution. Source: this course, model card of LLaDA-mini.
    """
    causal = getattr(model.config, "attention", None) == "causal"
    hits: dict[str, list[bool]] = {}
    for problem in problems:
        prompt = encode_prompt(tokenizer, problem.question)
        answer = encode_solution(tokenizer, problem)
        for at in range(4, 6 * problem.steps, 6):  # an equation is `a op b = c ;`
            hidden = [tokenizer.mask_token_id] * (len(answer) - at + 3)
            ids = prompt + answer[:at] + ([] if causal else hidden)
            here = len(prompt) + at - causal
            logits = model(torch.tensor([ids], device=model.device)).logits[:, here : here + 1]  # (1, 1, V)
            place = torch.tensor([[len(prompt) + at]])
            sampling.check_logits(logits, torch.ones_like(place, dtype=torch.bool), 1, place[0] * 0, place)
            operator = tokenizer.convert_ids_to_tokens(answer[at - 3])
            hits.setdefault(operator, []).append(int(logits.argmax()) == answer[at])
    return {operator: Proportion(sum(v), len(v)) for operator, v in sorted(hits.items())}
