"""Lab 11: what the exact denoiser of 20,000 texts needs and what it knows.

The corpus is the training stream of mini-GSM, seeds 0 to 19,999, without repeats; it ships as `data/corpus`, since
making it takes a minute. Three tables:

* `11_concentration`: how many texts carry the posterior, by noise, keep probability and seed; and what moves that:
  fewer texts, shorter texts, texts from outside.
* `11_truncation`: what a subset costs the prediction, by how it was chosen.
* `11_memory`: question visible, answer hidden. Who is right, in the corpus, outside it, on held-out skeletons; and what
  could save the denoiser: more texts, softer weights, another alignment, the nearest neighbour alone.

`BIG` is the number of texts that LLaDA-mini saw in training (8,058 steps of 64 rows). They are not shipped: that row is
measured with a corpus made anew.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from dlmlab.decode import corpus
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure import evaluate
from dlmlab.measure.difference import between, headlines
from dlmlab.measure.evaluate import Proportion
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.paths import DATA, to_write
from dlmlab.task import layout, tasks
from dlmlab.task.tasks import Problem

FILE = DATA / "corpus" / "texts.npz"
SEEDS, BIG, L = 20_000, 515_712, 96
ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.9)
KINDS = ("uniform", "mask", "uniform, 2,000 texts", "uniform, 40 places", "uniform, outside")
CHOICES, SUBSETS = ("nearest", "random", "coarse"), (1, 16, 256, 4096)
SIZES = (500, 5_000, SEEDS, BIG)
SETS = ("corpus", "fresh", "test")
RULES = ("votes at 0.5", "votes at 0.1", "answers aligned", "nearest alone")  # attempts to save the denoiser
MASKS = "masks"


# ------------------------------------------------------------------------------------------------------ the texts


def encode(problems: Sequence[Problem]) -> Tensor:
    """Lay texts out from place 0, question, answer mark, solution, end marks, (N, 96)."""
    _, tokenizer = load("llada-mini")
    rows = layout.encode_rows(tokenizer, problems, side="right").x0
    return torch.nn.functional.pad(rows, (0, L - rows.shape[1]), value=tokenizer.eos_token_id)


def different(rows: Tensor) -> Tensor:
    """Leave out repeats; of equal rows the first one stays."""
    first = {row.tobytes(): i for i, row in reversed([*enumerate(rows.numpy())])}
    return rows[sorted(first.values())]


def made(seeds: range) -> Tensor:
    """Make the texts of these seeds anew, without repeats, in their order, (N, 96) int16."""
    parts = [seeds[i : i + 2_000] for i in range(0, len(seeds), 2_000)]
    rows = torch.cat([encode([tasks.make_problem(s) for s in part]).to(torch.int16) for part in parts])
    return different(rows)


def ship() -> None:
    """Write the corpus: all tokens but end marks in one line, and how many each text has."""
    rows = made(range(SEEDS)).numpy().astype(np.uint16)
    _, tokenizer = load("llada-mini")
    real = rows != tokenizer.eos_token_id
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(to_write(FILE), ids=rows[real], lengths=real.sum(1).astype(np.uint8))


@cache
def texts(size: int = SEEDS) -> Tensor:
    """Read the different texts of the first `size` seeds of the shipped corpus, in their order, (N, 96) int16.

    A `size` above 20,000 makes the rest anew. Repeats are so few that below it the first `size` texts are taken.
    """
    if size > SEEDS:
        return different(torch.cat([texts(), made(range(SEEDS, size))]))
    _, tokenizer = load("llada-mini")
    with np.load(FILE) as file:
        ids, lengths = file["ids"].astype(np.int16), file["lengths"]
    rows = np.full((len(lengths), L), tokenizer.eos_token_id, dtype=np.int16)
    rows[np.arange(L) < lengths[:, None]] = ids
    return torch.from_numpy(rows[:size])


def vocabulary() -> tuple[int, int]:
    """Return V and the id of the mask."""
    _, tokenizer = load("llada-mini")
    return len(tokenizer), tokenizer.mask_token_id


def noised(x0: Tensor, alpha: float, kind: str, seed: int) -> tuple[Tensor, Tensor]:
    """Noise texts: ids (B, L) and which places may be read, (B, L) bool; uniform noise over all V ids, or masks."""
    V, mask_id = vocabulary()
    g = torch.Generator().manual_seed(seed)
    keep = torch.rand(x0.shape, generator=g) < alpha
    if kind == "mask":
        return torch.where(keep, x0.long(), mask_id), keep
    return torch.where(keep, x0.long(), torch.randint(0, V, x0.shape, generator=g)), torch.ones_like(keep)


# ------------------------------------------------------------------------------------------- who carries the posterior


def some(rows: Tensor, count: int) -> Tensor:
    """Take `count` rows, evenly over all."""
    return rows[torch.arange(count) * (len(rows) // count)]


@cache
def outside() -> Tensor:
    return encode(tasks.load_split("test")).to(torch.int16)


def posterior(kind: str, alpha: float, seed: int, size: int | None = None) -> Tensor:
    """Weigh all texts for 128 noised ones (the first `size`), (128, N)."""
    known = texts(2_000) if "2,000" in kind else texts()
    known = known[:, :40] if "40 places" in kind else known
    V, _ = vocabulary()
    x0 = some(outside() if "outside" in kind else known, 128)
    z, visible = (a[:size] for a in noised(x0, alpha, kind, seed))
    a = torch.full((len(z),), alpha)
    beta = torch.full((len(z),), torch.inf).double() if kind == "mask" else corpus.inverse_temperature(a, V)
    return corpus.text_weights(corpus.Corpus(known, V).distances(z, visible if kind == "mask" else None), beta)


def concentration(kind: str, alpha: float, seed: int, size: int | None = None) -> dict:
    """Count the texts that matter, and those needed for an error of 1 %, for each noised text."""
    w = posterior(kind, alpha, seed, size)
    count = [float(f"{v:.4g}") for v in corpus.effective(w).tolist()]
    return {"effective": count, "needed": [float(m) for m in corpus.needed(w, 0.01).tolist()]}


def _concentration_settings() -> list[dict]:
    return [{"kind": k, "alpha": a, "seed": s} for k in KINDS for a in ALPHAS for s in range(3)]


def pooled(rows: Sequence[dict], kind: str, alpha: float, column: str) -> np.ndarray:
    """Join the noised texts of all three seeds."""
    return np.concatenate([row[column] for row in select(rows, kind=kind, alpha=alpha)])


def _concentration_headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    found = {}
    for kind in KINDS:
        for alpha in ALPHAS:
            count, m = (pooled(rows, kind, alpha, column) for column in ("effective", "needed"))
            found[f"{kind}, {alpha}, effective"] = float(np.median(count))
            found[f"{kind}, {alpha}, needed"] = float(np.median(m))
            found[f"{kind}, {alpha}, worst"] = float(m.max())
    return found


CONCENTRATION = Table(
    "11_concentration",
    _concentration_settings,
    concentration,
    live=({"kind": "uniform", "alpha": 0.1, "seed": 0}, {"kind": "mask", "alpha": 0.02, "seed": 1}),
    size=8,
    tolerance={"effective": (0.01, 0.01), "needed": (3.0, 0.01)},
    headlines=_concentration_headlines,
)


# -------------------------------------------------------------------------------------------------- what a subset costs


@cache
def _whole(alpha: float, seed: int, row: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    V, _ = vocabulary()
    z = noised(some(texts(), 128), alpha, "uniform", seed)[0][row]
    distance = corpus.Corpus(texts(), V).distances(z[None])[0]
    beta = float(corpus.inverse_temperature(torch.tensor([alpha]), V))
    w = corpus.place_weights(texts(), z, distance, beta)
    return z, distance, w, corpus.average(texts(), w, V)


def subset(choice: str, m: int, z: Tensor, distance: Tensor, seed: int) -> Tensor:
    """Choose m texts: the nearest; any; or the nearest at twelve places drawn once, a cheap look before the exact one.

    Nearest means by the distance to the noised text, its own place counted: a subset that depended on the place that is
    predicted would be another one for every place.
    """
    g = torch.Generator().manual_seed(seed)
    if choice == "random":
        return torch.randperm(len(distance), generator=g)[:m]
    if choice == "coarse":
        at = torch.randperm(L, generator=g)[:12]
        distance = (texts()[:, at] != z[at].to(torch.int16)).sum(1)
    return distance.sort(stable=True).indices[:m]


def truncation(alpha: float, choice: str, m: int, seed: int, size: int | None = None) -> dict:
    """Compare the prediction of a subset with the whole one for 16 noised texts: total variation, mean over places, and
    its bound, the weight left out."""
    V, _ = vocabulary()
    error, bound = [], []
    for row in range(16)[:size]:
        z, distance, w, whole = _whole(alpha, seed, row)
        S = subset(choice, m, z, distance, 1_000 * seed + row)
        inside = w[S].sum(0)  # (L,)
        mine = corpus.average(texts()[S], w[S] / inside.clamp(min=1e-300), V)
        error.append(round(float((mine - whole).abs().sum(1).mean() / 2), 6))
        bound.append(round(float((1 - inside).mean()), 6))
    return {"error": error, "bound": bound}


def _truncation_settings() -> list[dict]:
    found = [(a, c, m, s) for s in range(3) for a in (0.05, 0.2) for c in CHOICES for m in SUBSETS]
    return [{"alpha": a, "choice": c, "m": m, "seed": s} for a, c, m, s in found]


def _truncation_headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    found = {}
    for row in select(rows, seed=0):
        same = select(rows, alpha=row["alpha"], choice=row["choice"], m=row["m"])
        for column in ("error", "bound"):
            name = f"{row['alpha']}, {row['choice']}, {row['m']:,}, {column}"
            found[name] = float(np.mean([r[column] for r in same]))
    return found


TRUNCATION = Table(
    "11_truncation",
    _truncation_settings,
    truncation,
    live=({"alpha": 0.05, "choice": "nearest", "m": 256, "seed": 0},),
    size=2,
    tolerance={"error": (0.01, 0.05), "bound": (0.01, 0.05)},
    headlines=_truncation_headlines,
)


# ------------------------------------------------------------------------------------------------------------- memory


def problems(name: str, size: int = SEEDS) -> list[Problem]:
    """Give 500 problems: of the corpus of this size, of its stream but with later seeds, or of the test split."""
    if name == "test":
        return tasks.load_split("test")
    if name == "fresh":
        return [tasks.make_problem(seed) for seed in range(1_000_000, 1_000_500)]
    return [_read(question) for question in _questions(some(texts(size), 500))]


def _questions(rows: Tensor) -> list[str]:
    _, tokenizer = load("llada-mini")
    words = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    mark = tokenizer.convert_tokens_to_ids("<|answer|>")
    return [" ".join(words[i] for i in row[1 : row.index(mark)]) for row in rows.tolist()]


def _read(question: str) -> Problem:
    s = tasks.solve(question)
    return Problem(question, s.text, s.answer, len(s.equations), s.situation, s.distractor, s.skeleton)


def answers(known: Tensor, problems: Sequence[Problem], rule: str = MASKS) -> list[str]:
    """Let the denoiser of `known` answer: the question is visible, the answer is written one token at a time."""
    _, tokenizer = load("llada-mini")
    V, mask_id = vocabulary()
    shape = corpus.Corpus(known, V)
    marks = tokenizer.convert_tokens_to_ids("<|answer|>")
    at = (known == marks).int().argmax(1)  # (N,) where each text begins its answer
    found = []
    for problem in problems:
        prompt = torch.tensor(layout.encode_prompt(tokenizer, problem.question))
        n, here = len(prompt), known
        if rule == "answers aligned":
            here = _shifted(known, n - 1 - at, mask_id)
            shape = corpus.Corpus(here, V)
        row = torch.full((1, L), mask_id)
        row[0, :n] = prompt
        visible = torch.arange(L)[None] < n
        distance = shape.distances(row, visible)
        alpha = float(rule.split()[-1]) if rule.startswith("votes") else 1.0
        w = corpus.text_weights(distance, corpus.inverse_temperature(torch.tensor([alpha]), V))[0]
        if rule == "nearest alone":
            w = torch.nn.functional.one_hot(w.argmax(), len(w)).double()
        w = w * (w > 1e-4 * w.max())
        hidden = (torch.arange(L) >= n) & (torch.arange(L) < n + ANSWER_LENGTH)
        found.append(layout.decode_answer(tokenizer, corpus.write(here, w, hidden).tolist()))
    return found


def _shifted(known: Tensor, by: Tensor, fill: int) -> Tensor:
    """Move every text right by its own number of places, so that all answers begin at one; `fill` what is empty."""
    source = torch.arange(L) - by[:, None]  # (N, L)
    inside = (source >= 0) & (source < L)
    return torch.where(inside, known.gather(1, source.clamp(0, L - 1)), torch.tensor(fill, dtype=known.dtype))


@cache
def skeletons() -> frozenset[str]:
    """Collect what the shipped corpus asks, names and things blanked."""
    return frozenset(_read(question).skeleton for question in _questions(texts()))


def memory(who: str, asked: str, n_texts: int, rule: str, size: int | None = None) -> dict:
    """Answer 500 problems and judge the answers. The whole row of the denoiser also says, by problem, if the corpus
    asks the same with other names."""
    chosen = problems(asked, n_texts)[:size]
    if who == "LLaDA-mini":
        model, tokenizer = load("llada-mini")
        return {"correct": evaluate.accuracy(model, tokenizer, chosen, sampler=Sampler(commit=Threshold(0.9))).correct}
    said = answers(texts(n_texts), chosen, rule)
    right = evaluate.digits(tasks.verify(p.question, a).correct for p, a in zip(chosen, said, strict=True))
    if size is not None or n_texts != SEEDS or rule != MASKS:
        return {"correct": right}
    return {"correct": right, "same_skeleton": evaluate.digits(p.skeleton in skeletons() for p in chosen)}


def _memory_settings() -> list[dict]:
    found = [("denoiser", asked, n, MASKS) for n in SIZES[:-1] for asked in SETS]
    found += [("denoiser", "test", SEEDS, rule) for rule in RULES]
    found += [("LLaDA-mini", asked, SEEDS, "threshold") for asked in SETS]
    found += [("denoiser", asked, BIG, MASKS) for asked in SETS[1:]]
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


def _memory_headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    found = {}
    for name, p in (shares(rows) | {f"fresh, skeleton {k}": p for k, p in by_skeleton(rows).items()}).items():
        found |= {name: p.value, f"{name}, low": p.interval[0], f"{name}, high": p.interval[1], f"{name}, n": p.n}
    model, denoiser = (select(rows, asked="test", n_texts=SEEDS, rule=r)[0]["correct"] for r in ("threshold", MASKS))
    return found | headlines("test", {"LLaDA-mini - denoiser": between(model, denoiser).times(100)})


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
    headlines=_memory_headlines,
)
