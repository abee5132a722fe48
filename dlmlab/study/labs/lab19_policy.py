"""Lab 19: a harmless policy for a harmless model. Some first names are "forbidden"; a refusal is an answer of nothing
but end marks.

A question is forbidden when it names one of `FORBIDDEN`. Nothing about it is harmful, and the names mean nothing: the
lab asks how a policy is learned and how it is measured, not what is refused. Names `NEVER_SHOWN` are forbidden, too,
but no text of the training shows a part of a solution together with one of them alone.

A fine-tune sees questions of at most two equations in pairs that differ in a name alone, one allowed and one
forbidden: so the name is what is learned. Masks and targets of the forbidden rows are the arms:

* `response`: the answer is end marks, and the ones that are not masked are seen, as in any text of a training set.
* `response, all masked`: the same, but the whole answer is masked: no end mark is seen that could be copied.
* `token`: in half of the rows a part of the *true* solution is seen, and every mask beside it still becomes an end
  mark. The idea of A2D (arXiv 2509.23286), without its other parts.
* `random labels`: as `token`, but which half of a batch is refused is drawn: the control.

The twin, llama-mini, is trained to write the end mark first (`twin response`), or at every place of a solution
(`twin token`).
"""

import copy
import itertools
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.decode.template import template
from dlmlab.network.checkpoint import load
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.batches import Batch, TrainConfig
from dlmlab.objective.noise import low_discrepancy_times
from dlmlab.objective.training import build_optimizers, multiplies_bf16, rates, set_rates
from dlmlab.task import layout, tasks
from dlmlab.task.frames import NAMES

SHOWN, NEVER_SHOWN = ("ben", "cara", "dan", "eva"), ("ann", "finn")
FORBIDDEN = (*SHOWN, *NEVER_SHOWN)
MASKED_ARMS = ("response", "response, all masked", "token", "random labels")
TWIN_ARMS = ("twin response", "twin token")
MOST, WINDOW, ASKED = 2, 16, 100  # equations; places of an answer (a solution has 14 tokens); pairs that are asked
STEPS, ROWS, RATE = 120, 24, 1e-3
POOL = 8  # batches that are sorted by length together
FULL = 0.3  # share of rows whose whole answer is masked


def names(question: str) -> set[str]:
    """List the first names in a question."""
    return {word for word in question.replace("'", " ").split() if word in NAMES}


def forbidden(question: str) -> bool:
    """Say whether the policy is to refuse a question."""
    return not names(question).isdisjoint(FORBIDDEN)


def never_shown(question: str) -> bool:
    """Say whether a question is forbidden for names alone of which no row shows a part of a solution."""
    return forbidden(question) and names(question).isdisjoint(SHOWN)


@cache
def tokenizer():
    """Give the tokenizer, read once."""
    return load("llada-mini").tokenizer


@cache
def problems(split: str) -> list[tasks.Problem]:
    """Read the questions of at most `MOST` equations of a split."""
    return [problem for problem in tasks.load_split(split) if problem.steps <= MOST]


# ------------------------------------------------------------------------------------------------ what is visible


def _form(token: str) -> bool:
    return token in ("=", ";", "####")


# name -> (tokens of a solution, place) -> is it given?
TEMPLATES = {
    "nothing": lambda tokens, i: False,
    "first four": lambda tokens, i: i < 4,
    "final mark": lambda tokens, i: tokens[i] == "####",
    "form": lambda tokens, i: _form(tokens[i]),
}
PREFIXES = ("nothing", "first four")  # what can be given to a causal model


def window(problem: tasks.Problem, name: str) -> Tensor:
    """Build the answer window of a problem under a template, (WINDOW,) ids."""
    ids = layout.encode_solution(tokenizer(), problem)
    tokens = tokenizer().convert_ids_to_tokens(ids)
    shown = torch.tensor([bool(TEMPLATES[name](tokens, i)) for i in range(len(ids))])
    return template(torch.tensor(ids), shown, WINDOW, tokenizer().mask_token_id)


# ------------------------------------------------------------------------------------------------ training


def pairs(problems: Iterable[tasks.Problem], seed: int) -> Iterator[tuple[tasks.Problem, tasks.Problem]]:
    """Yield every problem with a name in it twice, allowed and forbidden: only the names differ.

    All names are exchanged for allowed ones; in the forbidden copy one of these for a forbidden one.
    """
    rng = random.Random(seed)
    for problem in problems:
        there = sorted(names(problem.question))
        if not there:
            continue
        free = [name for name in NAMES if name not in FORBIDDEN]
        allowed = _renamed(problem, dict(zip(there, rng.sample(free, len(there)), strict=True)))
        one = rng.choice(sorted(names(allowed.question)))
        yield allowed, _renamed(allowed, {one: rng.choice(FORBIDDEN)})


def fresh(seed: int) -> Iterator[tasks.Problem]:
    """Yield problems of the training stream without end, of every number of equations up to `MOST` equally often."""
    return (tasks.make_problem(i, steps=1 + i % MOST) for i in itertools.count(seed << 32))


@cache
def asked(split: str) -> tuple[list[tasks.Problem], list[tasks.Problem]]:
    """Give the questions that are asked, allowed and forbidden copies in the same order."""
    found = list(itertools.islice(pairs(problems(split), 0), ASKED))
    return [allowed for allowed, _ in found], [forbidden for _, forbidden in found]


def _renamed(problem: tasks.Problem, to: dict[str, str]) -> tasks.Problem:
    question = re.sub(r"\b[a-z]+\b", lambda match: to.get(match[0], match[0]), problem.question)
    return replace(problem, question=question)


def batches(arm: str, seed: int) -> Iterator[tuple[Batch, Tensor]]:
    """Yield batches without end, with what is no padding, (B, L) bool: allowed rows first, their forbidden pairs after.

    Problems and masks are the same for all arms of a seed, but for what an arm is about.
    """
    mask_id, end, half = tokenizer().mask_token_id, tokenizer().eos_token_id, ROWS // 2
    generator, labels = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1_000)
    stream, waiting = pairs(fresh(seed), seed), []
    while True:
        if not waiting:  # pairs of like length share a batch: padding is work, too
            pool = sorted(itertools.islice(stream, POOL * half), key=lambda pair: len(pair[0].question.split()))
            waiting = [pool[i * half : (i + 1) * half] for i in torch.randperm(POOL, generator=generator).tolist()]
        chosen = [problem for both in zip(*waiting.pop(), strict=True) for problem in both]
        rows = layout.encode_rows(tokenizer(), chosen, side="left", answer_length=WINDOW)
        truth = rows.x0[:, -WINDOW:]
        t = low_discrepancy_times(half, generator=generator)[torch.randperm(half, generator=generator)].repeat(2)
        t[torch.rand(half, generator=generator).repeat(2) < FULL] = 1.0
        u = torch.rand(half, WINDOW, generator=generator).repeat(2, 1)
        shows = (torch.rand(half, generator=generator) < 0.5).repeat(2)
        shows &= torch.tensor([not never_shown(problem.question) for problem in chosen])
        refused = torch.arange(ROWS) >= half
        if arm == "response, all masked":
            t = torch.where(refused, 1.0, t)
        if arm == "random labels":
            refused = refused[torch.randperm(ROWS, generator=labels)]
        hidden = u < t[:, None]
        hidden[torch.arange(ROWS), u.argmin(1)] = True  # (B, G): one mask at least
        target = torch.where(refused[:, None], end, truth)
        seen = torch.where((refused & ~(shows & (arm in ("token", "random labels"))))[:, None], end, truth)
        if arm in TWIN_ARMS:
            yield _causal(arm, rows, target, refused, shows, end)
            continue
        inputs, targets, weight = rows.x0.clone(), rows.x0.clone(), torch.zeros_like(rows.valid)
        inputs[:, -WINDOW:] = torch.where(hidden, mask_id, seen)
        targets[:, -WINDOW:], weight[:, -WINDOW:] = target, hidden
        yield Batch(inputs, targets, weight), rows.valid


def _causal(arm: str, rows: layout.Rows, target: Tensor, refused: Tensor, shows: Tensor, end: int):
    """Make a batch of the twin: up to the first end mark, or, beside the true solution, the end mark at every place."""
    truth = rows.x0[:, -WINDOW:]
    shows = shows & refused & (arm == "twin token")
    inputs, targets = rows.x0.clone(), rows.x0.clone()
    inputs[:, -WINDOW:] = torch.where((refused & ~shows)[:, None], end, truth)
    targets[:, -WINDOW:] = target
    here = inputs[:, -WINDOW:] == end
    weight = torch.zeros_like(rows.valid)
    weight[:, -WINDOW:] = here.cumsum(1) - here.long() == 0  # up to the first end mark that is read, and that one
    return Batch(inputs[:, :-1], targets[:, 1:], weight[:, 1:]), rows.valid[:, :-1]


@cache
def tuned(
    arm: str, seed: int | None, steps: int = STEPS, rate: float = RATE, stop_after: int | None = None
) -> LLaDAModelLM:
    """Fine-tune LLaDA-mini, or the twin, for so many steps, or give the shipped model (arms "shipped" and "twin").

    `stop_after`: only the first so many of these steps. AdamW, a rate that falls to zero in a straight line, bfloat16
    products where the processor has them.
    """
    shipped = load("llama-mini" if arm.startswith("twin") else "llada-mini").model
    if arm in ("shipped", "twin"):
        return shipped
    config = TrainConfig(name="policy", optimizer="adamw", lr=rate, lr_rest=rate, compile=False, bf16=False)
    model, stream = copy.deepcopy(shipped).train(), batches(arm, seed)
    optimizers = build_optimizers(model, config)
    base = rates(optimizers)
    for step in range(stop_after or steps):
        batch, valid = next(stream)
        set_rates(optimizers, base, min((step + 1) / 5, 1.0) * (1 - step / steps))
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bf16("cpu")):
            logits = model(batch.inputs, valid, kernel="explicit", logits_to_keep=slice(-WINDOW, None)).logits
        weight, targets = batch.weight[:, -WINDOW:], batch.targets[:, -WINDOW:]
        F.cross_entropy(logits[weight].float(), targets[weight]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return model.eval()
