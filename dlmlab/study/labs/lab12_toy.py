"""Lab 12: the families on 42 equations whose distribution is known, so that every gap is a number.

What is measured of a network, by family and seed (`12_toy`):

* `gap`: bound less the entropy of the texts, in nats a text, one value a block of noise; AR: -log p less entropy. The
  exact denoiser sees the same noise, and its bound is taken off: its own mean is the entropy, for every prior.
* `duel ...`: exact -log p under a rule that chooses places, less the entropy. No draws.
* `tv T`, `right T`: distance to the truth and share of right equations of SAMPLES texts after T forwards; `greedy` the
  same with the last decision by the best token. AR: enumerated, in five forwards.
* `valid by ...`, `same by ...`: every text with one wrong number that makes it false, one edit; the share that is right
  afterwards, and the share that is the old text. `false by ...`: true texts that an edit has changed into false ones,
  `moved by ...`: that were changed at all.

The exact denoiser of every prior stands beside the networks as a model with gap 0.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from dlmlab.decode.ancestral import DETECTORS, Denoise, ancestral
from dlmlab.decode.bayes import ExactBayes, total_variation
from dlmlab.measure.difference import Difference, of_rows, of_seeds
from dlmlab.measure.difference import headlines as named
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.objective.duel import RULES, duel_nats
from dlmlab.objective.priors import interpolating_nelbo, mixed_prior, noise_tokens
from dlmlab.study.labs import lab12_families as families
from dlmlab.study.labs import lab12_repair as repair
from dlmlab.study.nb02_student import BLANK, equations, holds

SEEDS, SIZE, V, L = (0, 1, 2), families.Size(), BLANK + 1, 5
BLOCKS, DRAWS = 16, 24  # of the bound: independent estimates, times in each
SAMPLES, FORWARDS = 4_000, (2, 5, 10, 40)
FIRST = 60  # steps that are repeated live


def batches(step: int, generator: torch.Generator) -> tuple[Tensor, None]:
    """Draw a batch of equations by their probabilities."""
    texts, chance = equations()
    return texts[torch.multinomial(chance, SIZE.rows, replacement=True, generator=generator)], None


def network(name: str, seed: int, size: families.Size = SIZE) -> families.Family:
    """Make the untrained network of a family."""
    return families.Family(name, size, V=V, mask_id=BLANK, window=L, longest=L, seed=seed)


def exact(k: float) -> ExactBayes:
    """Make the exact denoiser under the noise of k."""
    texts, chance = equations()
    return ExactBayes(texts, mixed_prior(V, BLANK, k), chance)


def of(model: ExactBayes | families.Family) -> Denoise:
    """Read a network and the exact denoiser alike: (ids, alpha) -> logits."""
    if isinstance(model, ExactBayes):
        return lambda z, alpha: model(z, alpha=alpha)
    return lambda z, alpha: model.logits(z, alpha)


@cache
def truth() -> dict[tuple[int, ...], float]:
    texts, chance = equations()
    return dict(zip(map(tuple, texts.tolist()), chance.tolist(), strict=True))


# ------------------------------------------------------------------------------------------------ likelihood


def gaps(model: ExactBayes | families.Family, k: float, *, blocks: int = BLOCKS, seed: int = 1) -> list[float]:
    """Estimate bound less entropy, in nats a text, once a block; all texts count by their probabilities."""
    texts, chance = equations()
    perfect, found = exact(k), []
    for block in range(blocks):
        values = families.bound(
            of(model),
            texts,
            prior=perfect.prior,
            draws=DRAWS,
            generator=torch.Generator().manual_seed(1_000 * seed + block),
            reference=of(perfect),
        )
        found.append(float((chance * values.mean(1)).sum()))
    return found


def parts_of_bound(k: float, *, draws: int = 400) -> dict[str, float]:
    """Share out the bound of the exact denoiser: how much of it lies at places that are masked, wrong, or as they were.

    All texts by their probabilities, `draws` times t = u^3 each, u evenly spread.
    """
    (texts, chance), perfect, g = equations(), exact(k), torch.Generator().manual_seed(0)
    u = (torch.rand(len(texts), 1, generator=g, dtype=torch.float64) + torch.arange(draws) / draws) % 1  # (42, draws)
    u, x = u.clamp(1e-4, 1 - 1e-6).flatten(), texts.repeat_interleave(draws, 0)
    alpha, weight = 1 - u**3, 3 * u**2 * chance.repeat_interleave(draws)
    z = noise_tokens(x, alpha, perfect.prior, generator=g)
    how = {"alpha": alpha, "dalpha": -torch.ones_like(alpha), "prior": perfect.prior}
    nats = weight[:, None] * interpolating_nelbo(perfect(z, alpha=alpha), x, z, **how)  # (42 draws, L)
    masked = z == BLANK
    places = {"masked": masked, "wrong": ~masked & (z != x), "as they were": ~masked & (z == x)}
    return {name: float(nats[at].sum() / nats.sum()) for name, at in places.items()}


def entropy() -> float:
    """Mean -log p of the equations in nats: the floor of every bound and score."""
    _, chance = equations()
    return float(-(chance * chance.log()).sum())


def duel_gap(model: ExactBayes | families.Family, rule: str) -> float:
    """Mean DUEL score less the entropy, in nats a text; the time is told by the share of masks."""
    texts, chance = equations()
    told = families.by_masks(of(model), BLANK)
    nats = duel_nats(told, texts, torch.ones_like(texts, dtype=torch.bool), BLANK, rule=RULES[rule])
    return float((chance * nats).sum()) - entropy()


@torch.no_grad()
def causal_log_p(model: families.Family) -> Tensor:
    """Exact log p of the 42 equations under AR, (42,)."""
    texts, _ = equations()
    return model.logits(texts).double().log_softmax(-1).gather(-1, texts[..., None])[..., 0].sum(-1)


# ------------------------------------------------------------------------------------------------ samples


def distances(model: ExactBayes | families.Family, k: float, T: int, *, count: int = SAMPLES, seed: int = 2) -> dict:
    """Write texts in T forwards: total variation to the truth and share of right ones, for both ends."""
    x = torch.full((count, L), BLANK)
    generator = torch.Generator().manual_seed(seed)
    free = torch.ones_like(x, dtype=torch.bool)
    found = {}
    for end, ids in ancestral(of(model), x, free, prior=mixed_prior(V, BLANK, k), T=T, generator=generator).items():
        name = f"{T}" if end == "draw" else f"{T} greedy"
        found[f"tv {name}"], found[f"right {name}"] = judged(ids)
    return found


def judged(ids: Tensor) -> tuple[float, float]:
    """Total variation of texts (R, 5) to the truth, and the share of right ones."""
    counts: dict[tuple[int, ...], float] = {}
    for text in map(tuple, ids.tolist()):
        counts[text] = counts.get(text, 0.0) + 1 / len(ids)
    right = sum(share for text, share in counts.items() if holds(text))
    return total_variation(counts, truth()), right


@cache
def floor_of_samples(times: int = 20, seed: int = 3) -> float:
    """Total variation of as many texts drawn from the truth itself: the mean of several such draws."""
    texts, chance = equations()
    g = torch.Generator().manual_seed(seed)
    drawn = (texts[torch.multinomial(chance, SAMPLES, replacement=True, generator=g)] for _ in range(times))
    return sum(judged(ids)[0] for ids in drawn) / times


# ------------------------------------------------------------------------------------------------ the table


@cache
def trained(
    name: str, seed: int, timed: bool = True, rate: float = SIZE.rate, stop_after: int | None = None
) -> families.Family:
    """Train a network of a family, or only the first `stop_after` steps."""
    return network(name, seed, replace(SIZE, timed=timed, rate=rate)).train(batches, seed, stop_after=stop_after)


def measured(model: ExactBayes | families.Family, k: float | None, *, samples: int = SAMPLES) -> dict:
    """Measure everything of one model; k None: AR."""
    row: dict = {}
    if k is None:
        texts, chance = equations()
        log_p = causal_log_p(model)
        q = dict(zip(map(tuple, texts.tolist()), log_p.exp().tolist(), strict=True))
        missing = sum(max(p - q[text], 0) for text, p in truth().items())
        right = float(log_p.exp().sum())
        return {"gap": [float(-(chance * log_p).sum()) - entropy()] * BLOCKS, "tv 5": missing, "right 5": right}
    row["gap"] = gaps(model, k)
    row |= {f"duel {rule}": duel_gap(model, rule) for rule in RULES}
    for T in FORWARDS:
        row |= distances(model, k, T, count=samples)
    prior = mixed_prior(V, BLANK, k)
    for by in DETECTORS:
        row |= repair.repaired(of(model), prior, by)
    hidden = repair.repaired(repair.one_place_masked(of(model)), prior, "leave-one-out")
    return row | {name.replace("leave-one-out", "hiding each"): value for name, value in hidden.items()}


def rounded(row: dict) -> dict:
    return {k: [round(x, 5) for x in v] if isinstance(v, list) else round(v, 5) for k, v in row.items()}


def run(family: str, model: str, seed: int | None, timed: bool, rate: float, size: int | None = None) -> dict:
    """Measure a row; `size`: the exact denoiser's likelihood and repair, or a network after its first steps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices this small only wait for a second thread
    try:
        return rounded(_run(family, model, seed, timed, rate, size))
    finally:
        torch.set_num_threads(threads)


def _run(family: str, model: str, seed: int | None, timed: bool, rate: float, size: int | None) -> dict:
    k = families.FAMILIES[family]
    if model == "exact":
        row = measured(exact(k), k, samples=SAMPLES)
        return {name: v for name, v in row.items() if not name.startswith(("tv", "right"))} if size else row
    begin = trained(family, seed, timed, rate, FIRST)
    first = gaps(begin, k, blocks=2) if k is not None else [float(-(equations()[1] * causal_log_p(begin)).sum())]
    if size:
        return {"begin": first}
    return {"begin": first} | measured(trained(family, seed, timed, rate), k)


FASTER = 8e-3  # twice the usual rate, which was chosen on pilots of masks
OTHERS = (
    *({"family": name, "timed": False} for name in ("mask", "hybrid 0.1", "uniform")),
    {"family": "uniform", "rate": FASTER},
)  # attempts to overturn; what names no seed has seed 0 alone


def settings() -> list[dict]:
    """List the exact denoisers, the networks seed by seed, and the attempts."""
    usual = {"timed": True, "rate": SIZE.rate}
    keys = [{"family": name, "model": "exact", "seed": None} | usual for name in families.DIFFUSION]
    keys += [{"family": name, "model": "trained", "seed": seed} | usual for seed in SEEDS for name in families.FAMILIES]
    return keys + [usual | {"model": "trained", "seed": 0} | other for other in OTHERS]


def size_of() -> dict:
    """Describe the network in numbers."""
    return asdict(SIZE)


def usual(rows: Sequence[dict]) -> list[dict]:
    """Leave out the attempts."""
    return [row for row in rows if row["timed"] and row["rate"] == SIZE.rate]


# ------------------------------------------------------------------------------------------------ what is read off


def networks(rows: Sequence[dict]) -> list[dict]:
    """Keep the trained networks of the usual setting."""
    return [row for row in usual(rows) if row["model"] == "trained"]


def mean(rows: Sequence[dict], family: str, column: str, model: str = "trained") -> float:
    """Mean of a column over seeds (and blocks)."""
    values = [row[column] for row in select(usual(rows), family=family, model=model)]
    return float(np.mean(values))


def against(rows: Sequence[dict], family: str, column: str, other: str = "mask") -> Difference:
    """Compare two families: over blocks of noise and seeds where there are blocks, else over seeds."""
    mine = networks(rows)
    a, b = {"family": family}, {"family": other}
    if isinstance(mine[0][column] if column in mine[0] else None, list):
        return of_rows(mine, a, b, column=column)
    return of_seeds(mine, a, b, column=column)


def one_look(rows: Sequence[dict], family: str, what: str = "valid", other: str = "mask") -> Difference:
    """Compare a family that edits after one forward with another one whose places are hidden in turn, over seeds."""
    ways = {"one look": (family, "leave-one-out"), "hidden": (other, "hiding each")}
    shares = [
        {"way": way, "seed": row["seed"], "share": row[f"{what} by {by}"]}
        for way, (name, by) in ways.items()
        for row in select(networks(rows), family=name)
    ]
    return of_seeds(shares, {"way": "one look"}, {"way": "hidden"}, column="share")


def at_rates(rows: Sequence[dict], a: tuple[str, float], b: tuple[str, float]) -> Difference:
    """Compare the bounds of two families, each at its rate, over blocks of noise and the seeds that both have."""
    keys = [{"family": name, "model": "trained", "timed": True, "rate": rate} for name, rate in (a, b)]
    return of_rows(rows, *keys, column="gap")


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote: means of every family, and differences to mask."""
    found: dict[str, float | str] = {"entropy": entropy(), "floor of samples": floor_of_samples()}
    found |= named("gap, neighbours,", {"0.3 - 0.1": against(rows, "hybrid 0.3", "gap", "hybrid 0.1")})
    for what in ("valid", "false"):
        edited = {name: one_look(rows, name, what) for name in families.DIFFUSION if name != "mask"}
        found |= named(f"{what} in one look - mask hiding each,", edited)
    columns = [name for name in select(rows, family="mask", model="trained")[0] if " " in name]
    for column in ["gap", *columns]:
        names = (
            [name for name in families.FAMILIES if column in select(rows, family=name)[0]]
            if column != "gap"
            else families.FAMILIES
        )
        names = [name for name in names if all(column in row for row in select(networks(rows), family=name))]
        found |= {f"{column}, {name}": mean(rows, name, column) for name in names}
        found |= {f"{column}, exact {name}": mean(rows, name, column, "exact") for name in names if name != "AR"}
        found |= named(f"{column} - mask,", {name: against(rows, name, column) for name in names if name != "mask"})
    return found


TABLE = Table(
    "12_toy",
    settings,
    run,
    live=(settings()[0], settings()[2], settings()[5]),
    size=1,
    tolerance={"begin": (0.05, 0.05), "gap": (0.01, 0.02)},
    headlines=headlines,
)
