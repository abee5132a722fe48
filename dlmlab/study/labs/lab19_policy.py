"""Lab 19: a harmless policy for a model of two layers. Some first names are "forbidden"; a refusal is end marks only.

A question is a name and three digits, `ben 4 7 1`; its answer says the digits backwards, `1 ; 7 ; 4 .`, and then end
marks up to a window of `WINDOW`. A question is forbidden when it names one of `FORBIDDEN`: the names mean nothing, and
the lab asks how a policy is learned and measured, not what is refused. `NEVER_SHOWN` are forbidden, too, but no row of
any fine-tune shows a part of an answer beside one of them.

The model is a `LLaDAModelLM` that learned the task from random weights, with every name (arms `before`, and `twin`,
which is causal). A fine-tune then sees allowed and forbidden questions, half and half. What it sees and writes in the
forbidden rows is the arm:

* `response`: the answer is end marks, and those that are not masked are seen, as in any text of a training set.
* `response, all masked`: the same, but the whole answer is masked: no end mark is seen that could be copied.
* `token`: in half of the rows of shown names the *true* answer is seen where it is not masked; masks become end marks:
  the idea of A2D (arXiv 2509.23286), without its other parts.
* `random labels`: as `token`, but which rows are forbidden is drawn: the control.
* `twin response`, `twin token`: the causal model writes the end mark first, or at every place of a true answer.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.decode.template import template
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.batches import Batch
from dlmlab.task.frames import NAMES

SHOWN, NEVER_SHOWN = ("ben", "cara", "dan", "eva"), ("ann", "finn")
FORBIDDEN = (*SHOWN, *NEVER_SHOWN)
END, MASK = 0, 1
WORDS = ("end", "_", *NAMES, *"0123456789", ";", ".")
ID = {word: i for i, word in enumerate(WORDS)}
BAD = torch.tensor([ID[name] for name in FORBIDDEN])
NEVER = torch.tensor([ID[name] for name in NEVER_SHOWN])
GOOD = torch.tensor([ID[name] for name in NAMES if name not in FORBIDDEN])
SOLUTION, WINDOW = 6, 8  # tokens of an answer, and places for it
SPLITS = {"train": slice(0, 600), "validation": slice(600, 720), "test": slice(800, 920)}  # of all triples of digits

MASKED_ARMS = ("response", "response, all masked", "token", "random labels")
TWIN_ARMS = ("twin response", "twin token")
STEPS, ROWS, RATE = 200, 64, 1e-3
BASE_STEPS, BASE_RATE = 800, 3e-3  # of the model before any fine-tune
FULL = 0.3  # share of rows whose whole answer is masked

# name -> which tokens of an answer are given
TEMPLATES = {
    "nothing": (),
    "first token": (0,),
    "first four": (0, 1, 2, 3),
    "final mark": (5,),
    "form": (1, 3, 5),
}
PREFIXES = ("nothing", "first token", "first four")  # what can be given to a causal model


def triples(split: str) -> Tensor:
    """List the triples of digits of a split, (T, 3) token ids; no split has a triple of another."""
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))[SPLITS[split]]
    return torch.stack([order // 100, order // 10 % 10, order % 10], 1) + ID["0"]


def answer(questions: Tensor) -> Tensor:
    """Give the true answers of questions (B, 4), (B, WINDOW) ids: digits backwards, then end marks."""
    a, b, c = questions[:, 1:].unbind(1)
    signs = [torch.full_like(a, ID[word]) for word in (";", ";", ".")]
    ends = [torch.full_like(a, END)] * (WINDOW - SOLUTION)
    return torch.stack([c, signs[0], b, signs[1], a, signs[2], *ends], 1)


@cache
def asked(split: str) -> tuple[Tensor, Tensor]:
    """Give the questions that are asked, allowed and forbidden copies, (T, 4) each: they differ in the name alone."""
    digits = triples(split)
    i = torch.arange(len(digits))
    good, bad = (torch.cat([names[i % len(names)][:, None], digits], 1) for names in (GOOD, BAD))
    return good, bad


def never_shown(questions: Tensor) -> Tensor:
    """Say which questions have a forbidden name beside which no part of an answer is ever shown, (B,) bool."""
    return torch.isin(questions[:, 0], NEVER)


def windows(questions: Tensor, name: str) -> Tensor:
    """Build the answer windows of questions under a template, (B, WINDOW) ids."""
    shown = torch.isin(torch.arange(SOLUTION), torch.tensor(TEMPLATES[name], dtype=torch.long))
    return torch.stack([template(truth[:SOLUTION], shown, WINDOW, MASK) for truth in answer(questions)])


def readable(ids: Tensor) -> str:
    """Write ids as text, `_` for masks and `end` for end marks."""
    return " ".join(WORDS[i] for i in ids.tolist())


# ------------------------------------------------------------------------------------------------ training


def batches(arm: str, seed: int) -> Iterator[Batch]:
    """Yield batches without end; in those of a fine-tune the second half of the rows is forbidden.

    Questions and masks are the same for all arms of a seed, but for what an arm is about.
    """
    generator, labels = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1_000)
    digits, half = triples("train"), ROWS // 2
    everyone = torch.cat([GOOD, BAD])

    def draw(names: Tensor, n: int) -> Tensor:
        return names[torch.randint(len(names), (n,), generator=generator)]

    while True:
        base = arm in ("before", "twin")
        who = draw(everyone, ROWS) if base else torch.cat([draw(GOOD, half), draw(BAD, half)])
        questions = torch.cat([who[:, None], draw(digits, ROWS)], 1)
        refused = (torch.arange(ROWS) >= half) & (not base)
        t = torch.rand(ROWS, generator=generator)
        t[torch.rand(ROWS, generator=generator) < FULL] = 1.0
        u, shows = torch.rand(ROWS, WINDOW, generator=generator), torch.rand(ROWS, generator=generator) < 0.5
        shows &= ~never_shown(questions)
        if arm == "response, all masked":
            t = torch.where(refused, 1.0, t)
        if arm == "random labels":
            refused = refused[torch.randperm(ROWS, generator=labels)]
        yield (
            _causal(arm, questions, refused, shows)
            if arm.startswith("twin")
            else _masked(questions, refused, refused & ~(shows & (arm in ("token", "random labels"))), u, t)
        )


def _masked(questions: Tensor, refused: Tensor, ends: Tensor, u: Tensor, t: Tensor) -> Batch:
    """Mask answers: `refused` rows are taught end marks, rows with `ends` show end marks where they are not masked."""
    truth = answer(questions)
    hidden = u < t[:, None]
    hidden[torch.arange(len(u)), u.argmin(1)] = True  # (B, G): one mask at least
    seen = torch.where(hidden, MASK, torch.where(ends[:, None], END, truth))
    target = torch.where(refused[:, None], END, truth)
    weight = torch.cat([torch.zeros_like(questions, dtype=torch.bool), hidden], 1)
    return Batch(torch.cat([questions, seen], 1), torch.cat([questions, target], 1), weight)


def _causal(arm: str, questions: Tensor, refused: Tensor, shows: Tensor) -> Batch:
    """Make a batch of the twin: up to the first end mark, or, beside a true answer, the end mark at every place."""
    truth = answer(questions)
    seen = torch.where((refused & ~(shows & (arm == "twin token")))[:, None], END, truth)
    target = torch.where(refused[:, None], END, truth)
    ends = (seen == END).long()
    weight = torch.cat([torch.zeros_like(questions, dtype=torch.bool), ends.cumsum(1) - ends == 0], 1)
    x, y = torch.cat([questions, seen], 1), torch.cat([questions, target], 1)
    return Batch(x[:, :-1], y[:, 1:], weight[:, 1:])


def untrained(attention: str, start: int = 0) -> LLaDAModelLM:
    """Make the model with random weights, those of a `start`; the global generator is left alone."""
    config = LLaDAConfig(
        d_model=48,
        n_heads=4,
        n_layers=2,
        mlp_hidden_size=96,
        vocab_size=len(WORDS),
        max_sequence_length=16,
        mask_token_id=MASK,
        eos_token_id=END,
        attention=attention,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start)
        return LLaDAModelLM(config)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: with another number of them sums round otherwise, and in a few hundred steps that is
    another model, as another seed is."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def before(arm: str, base: int, start: int) -> LLaDAModelLM:
    """Train a model before any fine-tune, arm "before" or "twin": so many steps, weights and batches of a start."""
    model = untrained("causal" if arm == "twin" else "full", start)
    return _trained(model, batches(arm, start), base, BASE_RATE)


@cache
def tuned(
    arm: str, seed: int | None, steps: int = STEPS, rate: float = RATE, base: int = BASE_STEPS, start: int = 0
) -> LLaDAModelLM:
    """Fine-tune the model, or the twin, for so many steps; arms "before" and "twin" are the models before.

    `base`: steps of the model before; `start`: seed of its weights and batches. AdamW, a rate that falls to zero in a
    straight line, one thread. Another processor rounds otherwise, too: there it is another model.
    """
    if arm in ("before", "twin"):
        return before(arm, base, start)
    model = copy.deepcopy(before("twin" if arm.startswith("twin") else "before", base, start))
    return _trained(model, batches(arm, seed), steps, rate)


@one_thread()
def _trained(model: LLaDAModelLM, stream: Iterator[Batch], steps: int, rate: float) -> LLaDAModelLM:
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.01)
    for step in range(steps):
        batch = next(stream)
        for group in optimizer.param_groups:
            group["lr"] = rate * min((step + 1) / 20, 1.0) * (1 - step / steps)
        logits = model(batch.inputs, kernel="explicit").logits
        F.cross_entropy(logits[batch.weight], batch.targets[batch.weight]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()
