"""Lab 19: a wrong number is put into the answer before the model begins. Nothing is trained, and nothing is harmful.

`last`: the final answer, true number plus an offset, stands at its place behind `####`; the end marks after it are
given, too, all before it is masked. `open`: the same without the end marks. `first`: the first equation stands there
with a wrong result, all after it is masked; this is the beginning of an answer, and the twin gets the same. An offset
of 0 plants the true number: the control. Problems whose planted number leaves 0..99 are not asked, nor those of more
than `MOST` equations.

Decoders: `threshold` and `left to right` of LLaDA-mini, `twin` (llama-mini, which can be given a beginning only).

One digit a problem: `bent`, the number of the last equation is the planted one, and that equation is wrong (`last`,
`open`);
`built`, some later equation calculates with the planted number (`first`); `first right`, the first equation is right;
`true`, the final answer is true; `clean`, all is right.

Probabilities of the planted token at its place: `with rest`, when all else of the finished answer can be seen; `blind`,
when the model reads the question and, for `first`, what stands before the number; `without equation`, when a final
answer and the equation before it are masked, and nothing else. `right with rest` and so on: of the true number there.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from dlmlab.decode import autoregressive, sampling
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.measure.difference import Difference, between
from dlmlab.measure.evaluate import Proportion, digits
from dlmlab.measure.monitor import area
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.task import layout, tasks

PROBLEMS, MOST = 216, 3  # the first so many of the test split that have at most so many equations
LENGTH, BATCH = 22, 54  # places of an answer: the longest such solution has 20 tokens
PLACES, OFFSETS = ("last", "first"), (7, 1, -3)
DECODERS = {
    "threshold": sampling.Sampler(commit=Threshold(0.9)),
    "left to right": sampling.Sampler(score="left_to_right", commit=Fixed(), stop_at_eos=True),
}
HOW = ("with rest", "blind", "without equation")  # asked about the number: the third behind `####` alone
CHECKS = ("with rest", "blind", "right with rest", "right blind")
MORE_CHECKS = ("without equation", "right without equation")


@cache
def checkpoint(name: str):
    """Give a shipped model with its tokenizer, read once."""
    return load(name)


def asked(problems: int, place: str, offset: int) -> list[tasks.Problem]:
    """List the problems that are asked: short ones, those that the planted number fits."""
    short = [problem for problem in tasks.load_split("test") if problem.steps <= MOST]
    return [problem for problem in short[:problems] if fits(problem, place, offset)]


def fits(problem: tasks.Problem, place: str, offset: int) -> bool:
    """Say whether the planted number is one of the task's."""
    return 0 <= true_number(problem, place) + offset <= tasks.MAX_NUMBER


def true_number(problem: tasks.Problem, place: str) -> int:
    """Give the number that stands truly where another one is planted."""
    return tasks.solve(problem.question).equations[0][3] if place == "first" else problem.answer


def planted(problem: tasks.Problem, place: str, offset: int) -> tuple[Tensor, int]:
    """Build the answer window, (LENGTH,) ids, and say at which of its places the number is planted."""
    tokenizer = checkpoint("llada-mini").tokenizer
    ids = torch.tensor(layout.encode_solution(tokenizer, problem))
    window = torch.full((LENGTH,), tokenizer.mask_token_id)
    at = 4 if place == "first" else len(ids) - 1  # an equation is `a op b = c ;`
    if place == "last":
        window[at + 1 :] = tokenizer.eos_token_id
    before = range(at) if place == "first" else [at - 1]
    window[before] = ids[before]
    window[at] = tokenizer.convert_tokens_to_ids(str(true_number(problem, place) + offset))
    return window, at


def judge(problem: tasks.Problem, place: str, offset: int, text: str) -> dict[str, bool]:
    """Say what an answer with a planted number did with it."""
    verdict, number = tasks.verify(problem.question, text), true_number(problem, place) + offset
    equations = [e for e in verdict.equations if re.fullmatch(r".*=.*", e.text)]
    ends = bool(equations) and equations[-1].text.split("=")[-1].strip() == str(number)
    later = [re.split(r"[-+*/]", e.text.split("=")[0]) for e in equations[1:]]
    return {
        "bent": ends and not (equations[-1].right and equations[-1].follows),
        "built": any(str(number) in (side.strip() for side in sides) for sides in later),
        "first right": bool(equations) and equations[0].right and equations[0].follows,
        "true": verdict.correct,
        "clean": verdict.clean,
    }


@torch.inference_mode()
def run(decoder: str, place: str, offset: int, problems: int, size: int | None = None) -> dict:
    """Plant a number in every problem that it fits, let the rest be written, and ask about the number again."""
    model, tokenizer = checkpoint("llama-mini" if decoder == "twin" else "llada-mini")
    chosen = asked(problems, place, offset)[:size]
    windows = [planted(problem, place, offset) for problem in chosen]
    prompts = [layout.encode_prompt(tokenizer, problem.question) for problem in chosen]
    order = sorted(range(len(chosen)), key=lambda i: (len(prompts[i]), i))
    checks = CHECKS if place == "first" else CHECKS + MORE_CHECKS
    texts, found = [""] * len(chosen), torch.zeros(len(chosen), len(checks))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        given, at = torch.stack([windows[i][0] for i in rows]), torch.tensor([windows[i][1] for i in rows])
        if decoder == "twin":
            ids, valid = sampling.left_pad([prompts[i] + windows[i][0][:5].tolist() for i in rows], 0, "cpu")
            out = autoregressive.sample(model, ids, attention_mask=valid, gen_length=LENGTH - 5)
            P = ids.shape[1] - 5
        else:
            ids, valid = sampling.left_pad([prompts[i] + windows[i][0].tolist() for i in rows], 0, "cpu")
            out = sampling.sample(model, ids, attention_mask=valid, gen_length=0, sampler=DECODERS[decoder])
            P = ids.shape[1] - LENGTH
        answers = out.ids[:, P : P + LENGTH]
        right = torch.tensor([tokenizer.convert_tokens_to_ids(str(true_number(chosen[i], place))) for i in rows])
        hide = hidden(answers, given, at, place, tokenizer.mask_token_id)
        p = ask_again(model, out.ids[:, :P], valid[:, :P], answers, hide, at)
        each = torch.arange(len(rows))
        number = given[each, at]
        read = [p[0][each, number], p[1][each, number], p[0][each, right], p[1][each, right]]
        found[rows] = torch.stack([*read, *(q[each, token] for q in p[2:] for token in (number, right))], 1)
        for i, answer in zip(rows, answers.tolist(), strict=True):
            texts[i] = layout.decode_answer(tokenizer, answer)
    judged = [judge(problem, place, offset, text) for problem, text in zip(chosen, texts, strict=True)]
    row: dict = {name: digits(verdict[name] for verdict in judged) for name in judged[0]}
    return row | {name: [round(v, 4) for v in found[:, i].tolist()] for i, name in enumerate(checks)}


def hidden(answers: Tensor, given: Tensor, at: Tensor, place: str, mask_id: int) -> list[Tensor]:
    """Mask finished answers (B, G) to be asked again, the place of the number at least: a window for each of `HOW`."""
    each = torch.arange(len(at))
    with_rest, blind, without = answers.clone(), given.clone(), answers.clone()
    for window in (with_rest, blind, without):
        window[each, at] = mask_id
    for back in range(3, 8):  # `a op b = c`, then `; ####` and the number
        without[each, at - back] = mask_id
    return [with_rest, blind] if place == "first" else [with_rest, blind, without]


def ask_again(model, prompt: Tensor, valid: Tensor, answers: Tensor, windows: list[Tensor], at: Tensor):
    """Give the distribution at the planted place, (B, V), for each of some windows in which it is masked.

    A causal model sees what stands before the place, whatever was written after it: all are the same.
    """
    P = prompt.shape[1]
    if model.config.attention == "causal":
        p = model(torch.cat([prompt, answers[:, :4]], 1), torch.cat([valid, valid.new_ones(len(at), 4)], 1)).logits
        return [p[:, -1].softmax(-1)] * len(windows)
    found = []
    for window in windows:
        ids, real = torch.cat([prompt, window], 1), torch.cat([valid, torch.ones_like(window, dtype=torch.bool)], 1)
        found.append(model(ids, real, logits_to_keep=(P + at)[:, None]).logits[:, 0].softmax(-1))
    return found


def settings() -> list[dict]:
    """List decoders, places and offsets: the twin has no last place, left to right and `open` one wrong offset each."""
    keys = [("threshold", place, offset) for offset in (7, 0, 1, -3) for place in PLACES]
    keys += [("twin", "first", offset) for offset in (7, 0, 1, -3)]
    keys += [("left to right", "last", 7), ("threshold", "open", 7), ("threshold", "open", 0)]
    return [{"decoder": d, "place": place, "offset": o, "problems": PROBLEMS} for d, place, o in keys]


# ------------------------------------------------------------------------------------------------ what is read off


def row_of(rows: Sequence[dict], decoder: str, place: str, offset: int) -> dict:
    """Find one row."""
    return select(rows, decoder=decoder, place=place, offset=offset)[0]


def share(rows: Sequence[dict], decoder: str, place: str, offset: int, column: str) -> Proportion:
    """Count a digit column."""
    return Proportion.of(row_of(rows, decoder, place, offset)[column])


def several(rows: Sequence[dict], decoder: str, place: str, offset: int, column: str) -> Proportion:
    """Count a digit column over the problems of two equations or more."""
    chosen = asked(PROBLEMS, place, offset)
    column = row_of(rows, decoder, place, offset)[column]
    return Proportion.of("".join(digit for digit, p in zip(column, chosen, strict=True) if p.steps > 1))


def noticed(rows: Sequence[dict], decoder: str, place: str, offset: int, column: str, *, least: int = 1) -> Difference:
    """Say how well a probability tells a true number from a wrong one in its place: the area under the curve, 1 always,
    0.5 never. The interval resamples problems, and with a problem its true and its wrong number; an area that is the
    same for every wrong number leaves nothing to resample. `least`: only problems of so many equations or more."""
    problems = asked(PROBLEMS, place, 0)
    long = torch.tensor([problem.steps >= least for problem in problems])
    fit = torch.tensor([fits(problem, place, offset) for problem in problems])
    right = torch.tensor(row_of(rows, decoder, place, 0)[column])[long]
    wrong = torch.tensor(row_of(rows, decoder, place, offset)[column])[long[fit]]
    shares = [area(right, p[None]) for p in wrong]
    found = between(shares, [0.0] * len(shares))
    if len(set(shares)) == 1:
        return found
    gap = right[None] - wrong[:, None]  # (wrong, right)
    above = (gap > 0).float() + (gap == 0).float() / 2
    w = drawn(len(right))
    v = w[:, fit[long]]
    areas = ((v @ above) * w).sum(1) / (v.sum(1) * w.sum(1))
    low, high = areas.quantile(torch.tensor([0.025, 0.975])).tolist()
    return replace(found, low=low, high=high)


@cache
def drawn(n: int, resamples: int = 10_000) -> Tensor:
    """Draw how often each of n problems occurs in every resample, (resamples, n)."""
    return torch.from_numpy(np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), resamples)).float()


def middle(rows: Sequence[dict], decoder: str, place: str, offset: int, column: str) -> float:
    """Give the median of a probability."""
    return float(torch.tensor(row_of(rows, decoder, place, offset)[column]).median())


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for row in rows:
        decoder, place, offset = row["decoder"], row["place"], row["offset"]
        name = f"{decoder}, {place}, {offset:+d}"
        found[f"{name}, asked"] = len(row["true"])
        for column in ("bent", "built", "first right", "true", "clean"):
            part = Proportion.of(row[column])
            low, high = part.interval
            found |= {
                f"{name}, {column}": 100 * part.value,
                f"{name}, {column}, low": 100 * low,
                f"{name}, {column}, high": 100 * high,
                f"{name}, {column}, count": part.hits,
            }
        for column in (column for column in CHECKS + MORE_CHECKS if column in row):
            found[f"{name}, {column}, median"] = middle(rows, decoder, place, offset, column)
            if offset and decoder != "left to right" and not column.startswith("right"):
                d = noticed(rows, decoder, place, offset, column, least=1 + (column == "without equation"))
                found |= {f"{name}, {column}, area": d.mean, f"{name}, {column}, area, low": d.low}
                found[f"{name}, {column}, area, high"] = d.high
    return found


TABLE = Table(
    "19_planted",
    settings,
    run,
    live=tuple(settings()[i] for i in (0, 1, 8)),
    size=30,
    tolerance=dict.fromkeys(CHECKS + MORE_CHECKS, (0.05, 0.05)),
    headlines=headlines,
)
