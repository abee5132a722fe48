"""Lab 11: what the exact denoiser of 20,000 texts needs and what it knows.

The corpus is the training stream of mini-GSM, seeds 0 to 19,999, without repeats; it ships as `data/corpus`, since
making it takes a minute. Two tables:

* `11_concentration`: how many texts carry the posterior, by noise, keep probability and seed; and what moves that:
  fewer texts, shorter texts, texts from outside.
* `11_truncation`: what a subset costs the prediction, by how it was chosen.

What the denoiser knows is `lab11_memory`.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from dlmlab.decode import corpus
from dlmlab.measure.difference import Difference, between, headlines, of_rows
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.paths import DATA, to_write
from dlmlab.task import layout, tasks
from dlmlab.task.tasks import Problem

FILE = DATA / "corpus" / "texts.npz"
SEEDS, L = 20_000, 96
ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.9)
KINDS = ("uniform", "mask", "uniform, 2,000 texts", "uniform, 40 places", "uniform, outside")
CHOICES, SUBSETS = ("nearest", "random", "coarse"), (1, 16, 256, 4096)


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
    """Read the shipped corpus in its order, or its first `size` texts, (N, 96) int16."""
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


def alone(rows: Sequence[dict], kind: str, alpha: float) -> Difference:
    """Give the share of noised texts for which one text has 99 % of the posterior; its interval is over texts."""
    one = np.stack([np.array(row["needed"]) == 1 for row in select(rows, kind=kind, alpha=alpha)])  # (seeds, texts)
    by_text = one.mean(0).tolist()
    found = between(by_text, [0.0] * len(by_text))
    return replace(found, low=max(found.low, 0.0), seeds=tuple(one.mean(1).tolist()))


def _concentration_headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    found = {}
    for kind in KINDS:
        for alpha in ALPHAS:
            count, m = (pooled(rows, kind, alpha, column) for column in ("effective", "needed"))
            found[f"{kind}, {alpha}, effective"] = float(np.median(count))
            found[f"{kind}, {alpha}, needed"] = float(np.median(m))
            found[f"{kind}, {alpha}, worst"] = float(m.max())
            share = alone(rows, kind, alpha)
            name = f"{kind}, {alpha}, alone"
            found |= {name: share.mean, f"{name}, low": share.low, f"{name}, high": share.high}
            medians = [float(np.median(row["effective"])) for row in select(rows, kind=kind, alpha=alpha)]
            found |= {f"{kind}, {alpha}, least seed": min(medians), f"{kind}, {alpha}, most seed": max(medians)}
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


def ahead(rows: Sequence[dict], alpha: float, m: int, other: str) -> Difference:
    """Give the points of total variation by which the nearest m err more (less: negative) than m chosen otherwise."""
    a, b = ({"alpha": alpha, "choice": choice, "m": m} for choice in ("nearest", other))
    return of_rows(rows, a, b, column="error").times(100)


def _truncation_headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    found = {}
    for row in select(rows, seed=0):
        same = select(rows, alpha=row["alpha"], choice=row["choice"], m=row["m"])
        for column in ("error", "bound"):
            name = f"{row['alpha']}, {row['choice']}, {row['m']:,}, {column}"
            found[name] = float(np.mean([r[column] for r in same]))
    for other in CHOICES[1:]:
        for a in (0.05, 0.2):
            found |= headlines(f"nearest - {other}, {a},", {str(m): ahead(rows, a, m, other) for m in SUBSETS})
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
