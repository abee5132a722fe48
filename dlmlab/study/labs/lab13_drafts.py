"""Lab 13: answers of LLaDA-mini as drafts to be revised, with four confidences of every token.

A draft is an answer that a hasty or a bold sampler has written. In question are the tokens of its answer up to and with
the first end mark. `right`: the true solution has this token at this place; another right way of writing it counts as
wrong, which is rare.

The fourth confidence is PRISM's idea at the smallest size: a linear head on the last hidden state that learns, from the
model's own drafts of calibration problems and in one forward, whether a token is right (arXiv 2510.01384; the paper's
head is trained with the model, and on masks refilled by it).
"""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.decode import sampling, trust
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.network.checkpoint import load
from dlmlab.task import layout, tasks

DRAFTS = {"five forwards": Sampler(commit=Fixed(5)), "threshold 0.5": Sampler(commit=Threshold(0.5))}
HEAD_PROBLEMS = 256  # of the calibration split
BATCH = 64
CONFIDENCES = ("stored", "re-evaluated", "leave-one-out", "head", "every number")


@dataclass(frozen=True)
class Draft:
    """An answered problem, without padding: ids `x` (P + G,), which `places` are in question and which tokens `right`,
    bool, the `stored` confidence, all (P + G,), and the `forwards` it took."""

    problem: tasks.Problem
    x: Tensor
    places: Tensor
    right: Tensor
    stored: Tensor
    forwards: int


def places_of(x: Tensor, prompt: int, eos_id: int) -> Tensor:
    """Mark the answer up to and with its first end mark, (L,) bool."""
    ends = (x == eos_id).int()
    ends[:prompt] = 0
    return (torch.arange(len(x)) >= prompt) & (ends.cumsum(0) - ends == 0)


@cache
def drafts(name: str, split: str = "test", size: int | None = None) -> list[Draft]:
    """Answer the problems of a split, batched by length of prompt; in their own order."""
    model, tokenizer = load("llada-mini")
    problems = tasks.load_split(split)[:size]
    prompts = [layout.encode_prompt(tokenizer, p.question) for p in problems]
    order, found = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i)), {}
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        out = sampling.sample(model, [prompts[i] for i in rows], gen_length=ANSWER_LENGTH, sampler=DRAFTS[name])
        sure = trust.stored(out.trace)
        for row, i in enumerate(rows):
            n, pad = len(prompts[i]), out.prompt_length - len(prompts[i])
            x = out.ids[row, pad:].clone()
            truth = layout.encode_solution(tokenizer, problems[i])
            truth = torch.tensor(prompts[i] + truth + [tokenizer.eos_token_id] * (ANSWER_LENGTH - len(truth)))
            places = places_of(x, n, tokenizer.eos_token_id)
            found[i] = Draft(problems[i], x, places, x == truth, sure[row, pad:], out.trace.nfe[row])
    return [found[i] for i in range(len(problems))]


def denoiser():
    """LLaDA-mini as a function from ids (B, L) to logits (B, L, V)."""
    model, _ = load("llada-mini")
    return torch.inference_mode()(lambda ids: model(ids).logits.float())


@dataclass(frozen=True)
class Seen:
    """What one forward over a written text gives at every place: the probability of what stands there (L,), what the
    model would write there (L,), and the last hidden state (L, D)."""

    present: Tensor
    best: Tensor
    state: Tensor


@cache
@torch.inference_mode()
def visible(name: str, split: str = "test", size: int | None = None) -> list[Seen]:
    """Read every draft once, texts of one length together."""
    model, tokenizer = load("llada-mini")
    texts, found = [d.x for d in drafts(name, split, size)], {}
    for length in sorted({len(x) for x in texts}):
        mine = [i for i, x in enumerate(texts) if len(x) == length]
        for start in range(0, len(mine), BATCH):
            rows = mine[start : start + BATCH]
            x = torch.stack([texts[i] for i in rows])
            out = model(x, output_hidden_states=True)
            logits = out.logits.float()
            logits[..., tokenizer.mask_token_id] = float("-inf")
            present = logits.softmax(-1).gather(-1, x[..., None])[..., 0]
            parts = zip(present, logits.argmax(-1), out.hidden_states[-1].double(), strict=True)
            found |= {i: Seen(*part) for i, part in zip(rows, parts, strict=True)}
    return [found[i] for i in range(len(texts))]


@cache
def head() -> tuple[Tensor, Tensor]:
    """Train the head: weights (D + 1,) on normalised states, and (2, D) their mean and spread. Nothing is drawn."""
    how = ("five forwards", "calibration", HEAD_PROBLEMS)
    pairs = list(zip(drafts(*how), visible(*how), strict=True))
    h = torch.cat([seen.state[d.places] for d, seen in pairs]).clone()
    y = torch.cat([d.right[d.places] for d, _ in pairs]).double()
    scale = torch.stack([h.mean(0), h.std(0)])
    h = F.pad((h - scale[0]) / scale[1], (0, 1), value=1.0)
    w = torch.zeros(h.shape[1], dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        descent.zero_grad()
        value = F.binary_cross_entropy_with_logits(h @ w, y) + 1e-3 * (w[:-1] ** 2).sum()
        value.backward()
        return value

    descent.step(loss)
    return w.detach(), scale


@cache
def others(name: str, size: int | None = None) -> list[Tensor]:
    """Mask every token in question alone: the distributions at these places, (n, V) for every draft."""
    _, tokenizer = load("llada-mini")
    return [trust.alone(denoiser(), d.x, d.places, tokenizer.mask_token_id) for d in drafts(name, size=size)]


def confidence(name: str, by: str, size: int | None = None) -> list[Tensor]:
    """Give one confidence for every draft, (P + G,) each; high where the token is trusted."""
    found = drafts(name, size=size)
    if by == "stored":
        return [d.stored for d in found]
    if by == "re-evaluated":
        return [seen.present for seen in visible(name, size=size)]
    if by == "head":
        w, scale = head()
        states = (F.pad((seen.state - scale[0]) / scale[1], (0, 1), value=1.0) for seen in visible(name, size=size))
        return [(h @ w).sigmoid().float() for h in states]
    if by == "every number":  # a control that reads nothing: numbers are doubted, signs are not
        _, tokenizer = load("llada-mini")
        numbers = torch.tensor(tokenizer.convert_tokens_to_ids([str(n) for n in range(100)]))
        return [(~torch.isin(d.x, numbers)).float() for d in found]
    if by == "leave-one-out":
        own = []
        for d, p in zip(found, others(name, size), strict=True):
            own.append(torch.ones(len(d.x)))
            own[-1][d.places] = p.gather(1, d.x[d.places][:, None])[:, 0]
        return own
    return [(d.right | ~d.places).float() for d in found]  # who knows the truth is the limit of all of them
