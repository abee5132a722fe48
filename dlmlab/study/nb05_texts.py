"""Notebook 05: GPTQ on different states of the calibration texts, as many of each; and what enters the matrices.

`05_texts`: likelihood after GPTQ on one kind of state. Every kind has `STATES` of them from as many problems (a
denoising run gives more, of which so many are drawn). Mode "none" is RTN, which looks at nothing.

`05_inputs`: what the inputs of the matrices are like by noise level and class of tokens, in the float model. By site
(the first matrix that reads the input), one number a layer:
    peak   largest |x| over the root mean square of all
    share  squares in the largest channel, times the number of channels: 1 when all are equally large
    rank   effective rank of the second moments, exp(entropy of their eigenvalues), over the number of channels
"""

from collections.abc import Sequence

import torch

from dlmlab.compress import activations, calibration, registry
from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet
from dlmlab.measure import difference, store
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.study.judging import SEEDS, dense, texts
from dlmlab.study.nb05_methods import TOLERANCE, bound, spec

STATES = 64
KINDS = (
    ("uniform", "answer"),
    ("clean", "all"),
    ("uniform", "all"),
    ("prefix", "answer"),
    ("trajectory", "answer"),
)
NONE = ("none", "")
BITS = {2: (NONE, *KINDS), 3: KINDS[:2]}  # the kinds that are measured at each width


def states(mode: str, region: str, seed: int) -> CalibrationSet:
    """Draw the calibration states of one kind."""
    found = texts(mode, seed, region, n=STATES)
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
    return found.rows(order[:STATES].sort().values)


def run(mode: str, region: str, bits: int, seed: int, size: int | None = None) -> dict:
    """Quantize by GPTQ on one kind of states; likelihood only."""
    if mode == "none":
        model = registry.compress(dense(), "rtn", spec(bits))
    else:
        model = registry.compress(dense(), "gptq", spec(bits), calib=states(mode, region, seed))
    return {"nats": bound(model, seed, size)}


def settings() -> list[dict]:
    """List every kind of state, at few bits first."""
    columns = ("mode", "region", "bits", "seed")
    arms = [(*kind, bits, seed) for bits, kinds in BITS.items() for kind in kinds for seed in SEEDS]
    return [dict(zip(columns, arm, strict=True)) for arm in arms]


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote: every kind of state against noised answers, in nats; lower is better."""
    found: dict[str, float | str] = {}
    for mode, region in (NONE, *KINDS[1:]):
        gaps = {}
        for bits in (bits for bits, kinds in BITS.items() if (mode, region) in kinds):
            pair = ({"mode": m, "region": r, "bits": bits} for m, r in ((mode, region), KINDS[0]))
            gaps[f"{bits} bits"] = difference.of_rows(rows, *pair)
        found |= difference.headlines(f"{mode} {region}".strip() + " - uniform answer,", gaps)
    return found


TABLE = Table(
    "05_texts",
    settings,
    run,
    # At two bits another processor, which adds in another order, makes another model of the same texts (nats of one
    # problem then differ by 10): only the seeds tell about two bits, and only three bits can be repeated.
    live=({"mode": "uniform", "region": "answer", "bits": 3, "seed": 0},),
    size=10,
    tolerance=TOLERANCE | {"nats": (0.5, 0.3)},  # of one problem
    headlines=headlines,
)


# ------------------------------------------------------------------------------------------------ inputs

LEVELS = (0.1, 0.5, 1.0)
TOKENS = ("all", "masks", "visible")


def effective_rank(gram: torch.Tensor) -> float:
    """Count the directions of second moments (C, C): exp of the entropy of their normed eigenvalues."""
    values = torch.linalg.eigvalsh(gram).clamp(min=0)
    p = values / values.sum()
    return float(torch.special.entr(p).sum().exp())


def described(found: Statistics) -> dict[str, float]:
    """Describe one input by its sums."""
    C, squares = len(found.sum_sq), found.sum_sq.sum()
    return {
        "peak": float(found.abs_max.max() / (squares / (found.tokens * C)).sqrt()),
        "share": float(C * found.sum_sq.max() / squares),
        "rank": effective_rank(found.gram) / C,
    }


def run_inputs(model: str, t: float, tokens: str, seed: int, size: int | None = None) -> dict:
    """Describe the inputs of all matrices on answers noised to level t (0: clean texts)."""
    calib = texts("clean", seed, n=STATES) if t == 0 else texts(f"t:{t}", seed, "answer", n=STATES)
    weights = None if tokens == "all" else calibration.token_weights(tokens, calib)
    found = activations.collect(dense(model), calib, weights=weights, gram=True)
    table: dict[str, dict[str, list[float]]] = {"peak": {}, "share": {}, "rank": {}}
    for site in parts.MAKERS:
        each = [described(found[f"blocks.{layer}.{site}"]) for layer in range(dense(model).config.n_layers)]
        for name, column in table.items():
            column[site] = [round(one[name], 4) for one in each]
    return table


def input_settings() -> list[dict]:
    """List clean texts of both models, then every noise level of LLaDA-mini by class of tokens."""
    arms = [(model, 0.0, "all", seed) for model in ("llada-mini", "llama-mini") for seed in SEEDS]
    arms += [("llada-mini", t, tokens, seed) for t in LEVELS for tokens in TOKENS for seed in SEEDS]
    return [dict(zip(("model", "t", "tokens", "seed"), arm, strict=True)) for arm in arms]


def input_headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote: the largest peak of each site and its growth with t, over layers and seeds."""
    found: dict[str, float | str] = {}
    for site in parts.MAKERS:
        at = {
            t: [max(row["peak"][site]) for row in store.select(rows, model="llada-mini", t=t, tokens="all")]
            for t in (0.0, *LEVELS)
        }
        found[f"peak {site}"] = max(max(peaks) for peaks in at.values())
        found[f"peak {site}, clean"] = sum(at[0.0]) / len(at[0.0])
        found[f"peak {site}, all masked"] = sum(at[1.0]) / len(at[1.0])
        rows_of = [{"seed": s, "t": t, "peak": [p]} for t, peaks in at.items() for s, p in enumerate(peaks)]
        growth = difference.of_rows(rows_of, {"t": 1.0}, {"t": LEVELS[0]}, column="peak")
        found |= difference.headlines(f"peak {site},", {"t 1 - t 0.1": growth})
    for t in (0.0, *LEVELS):
        chosen = store.select(rows, model="llada-mini", t=t, tokens="all")
        ranks = [sum(v for site in row["rank"].values() for v in site) / 24 for row in chosen]
        found[f"rank t {t:g}, %"] = 100 * sum(ranks) / len(ranks)
        first = [row["rank"][parts.READERS[0][0]][0] for row in chosen]
        found[f"rank of the first input t {t:g}, %"] = 100 * sum(first) / len(first)
    return found


INPUTS = Table(
    "05_inputs",
    input_settings,
    run_inputs,
    live=({"model": "llada-mini", "t": 0.5, "tokens": "masks", "seed": 0},),
    tolerance={"peak": (0.05, 0.02), "share": (0.05, 0.02), "rank": (0.005, 0.02)},
    headlines=input_headlines,
)
