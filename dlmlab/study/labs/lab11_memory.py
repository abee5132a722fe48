"""Lab 11: what the exact denoiser of 20,000 texts knows, beside LLaDA-mini, which was trained on texts like them.

* `11_memory`: question visible, answer hidden. Who is right, in the corpus, outside it, on held-out skeletons; and what
  could save the denoiser: more texts, others, softer weights, another alignment, the nearest neighbour alone. `any
  text` is the control that does not read the question, moved so that its answer begins at the same place.
* `11_denoising`: what both were made for. Masks anywhere in the answer, one prediction of all of them, judged token by
  token in the solution. The control is the most frequent token of each place, counted from the answer mark.

Chance enters by the choice of texts: `part 2` and `part 3` are corpora of 5,000 with no text in the first 5,000.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from dlmlab.decode import corpus
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, between, headlines, of_rows
from dlmlab.measure.evaluate import Proportion
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.study.labs import lab11_corpus as lab
from dlmlab.task import layout, tasks
from dlmlab.task.tasks import Problem

L, SEEDS = lab.L, lab.SEEDS
SIZES = (500, 5_000, SEEDS)
PARTS = ("part 2", "part 3")
SETS = ("corpus", "fresh", "test")
MASKS = "masks"
SOFT = ("votes at 0.5", "votes at 0.1", "votes at 0.02", "votes at 0.005")  # the kernel of uniform noise at this alpha
RULES = (*SOFT, "answers aligned", "nearest alone", "any text")
READERS, SHOWN = ("denoiser", "LLaDA-mini", "most frequent"), (0.1, 0.5, 0.9)


# ------------------------------------------------------------------------------------------------ question and answer


def problems(name: str, size: int = SEEDS) -> list[Problem]:
    """Give 200 problems of the corpus of this size, or 200 of its stream with later seeds, or the 500 test problems."""
    if name == "test":
        return tasks.load_split("test")
    if name == "fresh":
        return [tasks.make_problem(seed) for seed in range(1_000_000, 1_000_200)]
    return [_read(question) for question in _questions(lab.some(lab.texts(size), 200))]


def _questions(rows: Tensor) -> list[str]:
    _, tokenizer = load("llada-mini")
    words = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    mark = tokenizer.convert_tokens_to_ids("<|answer|>")
    return [" ".join(words[i] for i in row[1 : row.index(mark)]) for row in rows.tolist()]


def _read(question: str) -> Problem:
    s = tasks.solve(question)
    return Problem(question, s.text, s.answer, len(s.equations), s.situation, s.distractor, s.skeleton)


def answer_starts(rows: Tensor) -> Tensor:
    """Give the place of the answer mark of every text, (N,)."""
    _, tokenizer = load("llada-mini")
    return (rows == tokenizer.convert_tokens_to_ids("<|answer|>")).int().argmax(1)


def weights(known: corpus.Corpus, row: Tensor, visible: Tensor, rule: str = MASKS) -> Tensor:
    """Weigh the texts for one row by a rule: the posterior under masks, that of another noise, or no posterior, (N,).

    Shapes: row and visible (L,).
    """
    N, V = len(known.texts), known.V
    if rule == "any text":  # one that depends on the question only by chance
        at = torch.randint(N, (1,), generator=torch.Generator().manual_seed(int(row[visible].sum())))
        return torch.nn.functional.one_hot(at[0], N).double()
    distance = known.distances(row[None], visible[None])
    alpha = float(rule.split()[-1]) if rule in SOFT else 1.0
    w = corpus.text_weights(distance, corpus.inverse_temperature(torch.tensor([alpha]), V))[0]
    return torch.nn.functional.one_hot(w.argmax(), N).double() if rule == "nearest alone" else w


def answers(known: Tensor, problems: Sequence[Problem], rule: str = MASKS) -> list[str]:
    """Let the denoiser of `known` answer: the question is visible, the answer is written one token at a time."""
    _, tokenizer = load("llada-mini")
    V, mask_id = lab.vocabulary()
    at, found, whole = answer_starts(known), [], corpus.Corpus(known, V)
    moved = cache(lambda n: corpus.Corpus(shifted(known, n - 1 - at, mask_id), V))
    for problem in problems:
        prompt = torch.tensor(layout.encode_prompt(tokenizer, problem.question))
        n = len(prompt)
        here = moved(n) if rule in ("answers aligned", "any text") else whole
        row = torch.nn.functional.pad(prompt, (0, L - n), value=mask_id)
        w = weights(here, row, torch.arange(L) < n, rule)
        w = w * (w > 1e-4 * w.max())
        hidden = (torch.arange(L) >= n) & (torch.arange(L) < n + ANSWER_LENGTH)
        found.append(layout.decode_answer(tokenizer, corpus.write(here.texts, w, hidden).tolist()))
    return found


def shifted(known: Tensor, by: Tensor, fill: int) -> Tensor:
    """Move every text right by its own number of places, so that all answers begin at one; `fill` what is empty."""
    source = torch.arange(L) - by[:, None]  # (N, L)
    inside = (source >= 0) & (source < L)
    return torch.where(inside, known.gather(1, source.clamp(0, L - 1)), torch.tensor(fill, dtype=known.dtype))


@cache
def skeletons() -> frozenset[str]:
    """Collect what the shipped corpus asks, names and things blanked."""
    return frozenset(_read(question).skeleton for question in _questions(lab.texts()))


def _known(n_texts: int, rule: str) -> Tensor:
    after = (int(rule[-1]) - 1) * n_texts if rule in PARTS else 0
    return lab.texts()[after : after + n_texts]


def agreement(problem: Problem, said: str) -> float:
    """Give the share of the tokens of the true solution that stand at their place."""
    true, other = problem.solution.split(), said.split()
    return round(sum(a == b for a, b in zip(true, other, strict=False)) / len(true), 3)


def memory(who: str, asked: str, n_texts: int, rule: str, size: int | None = None) -> dict:
    """Answer problems and judge the answers, whole and token by token. The whole row of the denoiser also says, by
    problem, if the corpus asks the same with other names."""
    chosen = problems(asked, n_texts)[:size]
    if who == "LLaDA-mini":
        model, tokenizer = load("llada-mini")
        said = evaluate.accuracy(model, tokenizer, chosen, sampler=Sampler(commit=Threshold(0.9))).answers
    else:
        said = answers(_known(n_texts, rule), chosen, rule)
    pairs = [*zip(chosen, said, strict=True)]
    found = {"correct": evaluate.digits(tasks.verify(p.question, a).correct for p, a in pairs)}
    found["tokens"] = [agreement(p, a) for p, a in pairs]
    if size is None and n_texts == SEEDS and rule == MASKS:
        found["same_skeleton"] = evaluate.digits(p.skeleton in skeletons() for p in chosen)
    return found


def _memory_settings() -> list[dict]:
    found = [("denoiser", asked, n, MASKS) for n in SIZES for asked in SETS]
    found += [("denoiser", "test", SEEDS, rule) for rule in RULES]
    found += [("denoiser", "test", 5_000, part) for part in PARTS]
    found += [("LLaDA-mini", asked, SEEDS, "threshold") for asked in SETS]
    return [dict(zip(("who", "asked", "n_texts", "rule"), key, strict=True)) for key in found]


def shares(rows: Sequence[dict]) -> dict[str, Proportion]:
    """Give exact match by "who, asked, texts, rule"."""
    names = (f"{row['who']}, {row['asked']}, {row['n_texts']:,}, {row['rule']}" for row in rows)
    return {name: Proportion.of(row["correct"]) for name, row in zip(names, rows, strict=True)}


def by_skeleton(rows: Sequence[dict]) -> dict[str, Proportion]:
    """Split the fresh problems: does the corpus ask the same with other names?"""
    (row,) = select(rows, who="denoiser", asked="fresh", n_texts=SEEDS, rule=MASKS)
    pairs = [*zip(row["correct"], row["same_skeleton"], strict=True)]
    return {name: Proportion.of("".join(c for c, s in pairs if s == d)) for name, d in (("new", "0"), ("known", "1"))}


def gains(rows: Sequence[dict]) -> dict[str, Difference]:
    """Compare every attempt to save the denoiser with the denoiser, on the test problems, in points."""
    (plain,) = select(rows, asked="test", n_texts=SEEDS, rule=MASKS)
    tried = [row for row in select(rows, asked="test") if row is not plain and row["who"] == "denoiser"]
    names = (row["rule"] if row["rule"] != MASKS else f"{row['n_texts']:,} texts" for row in tried)
    return {n: between(row["correct"], plain["correct"]).times(100) for n, row in zip(names, tried, strict=True)}


def _memory_headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    found = {}
    for name, p in (shares(rows) | {f"fresh, skeleton {k}": p for k, p in by_skeleton(rows).items()}).items():
        found |= {name: p.value, f"{name}, low": p.interval[0], f"{name}, high": p.interval[1], f"{name}, n": p.n}
    for name, row in zip(shares(rows), rows, strict=True):
        found[f"{name}, tokens"] = sum(row["tokens"]) / len(row["tokens"])
    model, denoiser = (select(rows, asked="test", n_texts=SEEDS, rule=r)[0] for r in ("threshold", MASKS))
    for column in ("correct", "tokens"):
        against = between(model[column], denoiser[column]).times(100)
        found |= headlines(f"test, {column}", {"LLaDA-mini - denoiser": against})
    return found | headlines("test, against masks,", gains(rows))


MEMORY = Table(
    "11_memory",
    _memory_settings,
    memory,
    live=(
        {"who": "denoiser", "asked": "test", "n_texts": SEEDS, "rule": MASKS},
        {"who": "denoiser", "asked": "corpus", "n_texts": SEEDS, "rule": MASKS},
        {"who": "LLaDA-mini", "asked": "fresh", "n_texts": SEEDS, "rule": "threshold"},
    ),
    size=16,
    tolerance={"tokens": (0.3, 0.0)},
    headlines=_memory_headlines,
)


# ------------------------------------------------------------------------------------------------- masks anywhere


@cache
def frequent() -> Tensor:
    """Give the most frequent token of every place, counted from the first of the answer, (L,)."""
    V, _ = lab.vocabulary()
    _, tokenizer = load("llada-mini")
    known = shifted(lab.texts(), -1 - answer_starts(lab.texts()), tokenizer.eos_token_id)
    return corpus.average(known, torch.ones(known.shape, dtype=torch.float64), V).argmax(1)


@cache
def _whole() -> corpus.Corpus:
    return corpus.Corpus(lab.texts(), lab.vocabulary()[0])


@torch.inference_mode()
def guesses(who: str, rows: Tensor, visible: Tensor, end: Tensor) -> Tensor:
    """Predict every token of partly masked texts at once, their answer windows ending at `end` (B,), (B, L)."""
    V, _ = lab.vocabulary()
    if who == "most frequent":
        return frequent()[(torch.arange(L) - answer_starts(rows)[:, None] - 1).clamp(min=0)]
    if who == "LLaDA-mini":
        inside = torch.arange(L) < end[:, None]
        return load("llada-mini")[0](rows, inside).logits[..., :V].argmax(-1)
    found = []
    for row, seen in zip(rows, visible, strict=True):
        w = weights(_whole(), row, seen)
        heavy = w > 0  # most texts have no weight at all
        table = corpus.average(lab.texts()[heavy], w[heavy][:, None].expand(-1, L), V)
        found.append(table.round(decimals=9).argmax(1))
    return torch.stack(found)


def hide(x0: Tensor, shown: float, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hide all but a share of the answer window of texts (B, L), at least one token of each solution.

    Returns ids and what may be read, (B, L); the hidden tokens of the solutions, (B, L); and where windows end, (B,).
    Nothing behind a window may be read.
    """
    _, tokenizer = load("llada-mini")
    _, mask_id = lab.vocabulary()
    chance = torch.rand(x0.shape, generator=torch.Generator().manual_seed(seed))
    place, start = torch.arange(L), answer_starts(x0)[:, None] + 1
    end = (start + ANSWER_LENGTH).clamp(max=L)
    solution = (place >= start) & (x0 != tokenizer.eos_token_id)
    last = chance.masked_fill(~solution, -1.0).argmax(1)  # the one that is hidden whatever the share
    keep = (chance < shown) & (place != last[:, None])
    visible = (place < start) | (keep & (place < end))
    return torch.where(visible, x0, mask_id), visible, solution & ~visible, end[:, 0]


def denoising(who: str, asked: str, shown: float, seed: int, size: int | None = None) -> dict:
    """Hide all but a share of the answers of 64 texts, and give for each the share of hidden tokens of its solution
    that one prediction gets right."""
    x0 = lab.some(lab.texts() if asked == "corpus" else lab.outside(), 64).long()
    z, visible, judged, end = (a[:size] for a in hide(x0, shown, seed))
    right = judged & (guesses(who, z, visible, end) == x0[: len(z)])
    return {"right": [round(float(share), 3) for share in right.sum(1) / judged.sum(1)]}


def _denoising_settings() -> list[dict]:
    found = [(w, a, s, k) for w in READERS for a in ("corpus", "test") for s in SHOWN for k in range(3)]
    return [dict(zip(("who", "asked", "shown", "seed"), key, strict=True)) for key in found]


def lead(rows: Sequence[dict], asked: str, shown: float) -> Difference:
    """Compare LLaDA-mini with the denoiser, in points of tokens, over texts and seeds."""
    a, b = ({"who": who, "asked": asked, "shown": shown} for who in ("LLaDA-mini", "denoiser"))
    return of_rows(rows, a, b, column="right").times(100)


def _denoising_headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    found = {}
    for asked in ("corpus", "test"):
        found |= headlines(f"{asked}, LLaDA-mini - denoiser,", {str(s): lead(rows, asked, s) for s in SHOWN})
        for who in READERS:
            for s in SHOWN:
                values = [v for row in select(rows, who=who, asked=asked, shown=s) for v in row["right"]]
                found[f"{who}, {asked}, {s}"] = sum(values) / len(values)
    return found


DENOISING = Table(
    "11_denoising",
    _denoising_settings,
    denoising,
    live=(
        {"who": "denoiser", "asked": "test", "shown": 0.5, "seed": 0},
        {"who": "LLaDA-mini", "asked": "corpus", "shown": 0.9, "seed": 1},
    ),
    size=16,
    tolerance={"right": (0.15, 0.0)},
    headlines=_denoising_headlines,
)
