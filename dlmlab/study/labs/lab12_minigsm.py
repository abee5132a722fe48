"""Lab 12: the families on mini-GSM, at a quarter of the width of LLaDA-mini.

Every problem has one equation and numbers up to 20, so every solution has nine tokens with its end mark. The question
stands before it and is never noised: what is measured is p(solution | question), whose floor is 0 nats, since the
solution is a function of the question. All runs see the same problems in the same order; the seed draws weights and
noise.

What a row of `12_minigsm` holds, one value or digit a problem:

* `nats`: the bound on -log p(solution | question); of AR it is exact. `duel ...`: exact, under a rule for places.
* `correct T`, `correct T greedy`: ancestral sampling in T forwards, the last decision by a draw or by the best token;
  AR in nine forwards, by draws or by the best token each. `correct surest`: masks filled one by one, surest first.
* `fixed by ...`: one number of a true solution made wrong, at most EDITS edits, one a forward: is every equation right
  again? `kept by ...`: a true solution, as many edits: is it still right?
"""

import itertools
import random
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.decode.ancestral import DETECTORS, Denoise, ancestral, edit_once
from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.difference import headlines as named
from dlmlab.measure.evaluate import digits
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.objective.duel import RULES, duel_nats
from dlmlab.study.labs import lab12_families as families
from dlmlab.study.labs import lab12_problems as source
from dlmlab.task import layout, tasks

LONGEST = 48  # tokens of a row
SIZE = families.Size(d_model=48, n_layers=6, n_heads=3, hidden=128, steps=800, rows=64, rate=4e-3)
JUDGED, DRAWS, HIDDEN = 256, 16, 128  # problems whose nats are computed; times of the bound; problems for nine rows
FORWARDS, EDITS, AT = (3, 5, 9, 40), 2, 0.9  # AT: keep probability that a network is told when it edits
TOLD = (0.5, 0.7, 0.99)  # other keep probabilities, an attempt to overturn
NUMBERS = (0, 2, 4, 7)  # places of numbers in a solution
FIRST = 12  # steps that are repeated live


def network(name: str, seed: int, size: families.Size = SIZE) -> families.Family:
    """Make the untrained network of a family."""
    tokenizer = load("llada-mini").tokenizer
    V, mask_id = len(tokenizer), tokenizer.mask_token_id
    return families.Family(name, size, V=V, mask_id=mask_id, window=source.WINDOW, longest=LONGEST, seed=seed)


@cache
def trained(name: str, seed: int, stop_after: int | None = None) -> families.Family:
    """Train a network of a family, or only its first `stop_after` steps."""
    return network(name, seed).train(source.Stream(SIZE.rows), seed, stop_after=stop_after)


# ------------------------------------------------------------------------------------------------ measuring


def reader(family: families.Family, prompts: Tensor, valid: Tensor) -> Denoise:
    """Read solutions behind their questions: (ids (r B, 9), alpha) -> logits, for prompts (B, P) r times over.

    `valid` (B, P + 9) bool.
    """

    def read(z: Tensor, alpha: Tensor | None) -> Tensor:
        times = len(z) // len(prompts)
        return family.logits(torch.cat([prompts.repeat(times, 1), z], 1), alpha, valid.repeat(times, 1))

    return read


def judged(problems: Sequence[tasks.Problem], ids: Tensor, what: str = "correct") -> str:
    """Verify solutions (B, 9): one digit a problem."""
    tokenizer = load("llada-mini").tokenizer
    texts = [layout.decode_answer(tokenizer, row) for row in ids.tolist()]
    return digits(getattr(tasks.verify(p.question, t), what) for p, t in zip(problems, texts, strict=True))


@torch.no_grad()
def nats(family: families.Family, problems: Sequence[tasks.Problem]) -> dict[str, list[float]]:
    """Compute bound and DUEL scores of the solutions, or the exact -log p of AR, problem by problem."""
    rows, valid = source.encode(problems)
    prompts, x = rows[:, : -source.WINDOW], rows[:, -source.WINDOW :]
    read = reader(family, prompts, valid)
    if family.causal:
        log_p = read(x, None).double().log_softmax(-1).gather(-1, x[..., None])[..., 0]
        return {"nats": _short(-log_p.sum(-1))}
    how = {"prior": family.prior, "draws": DRAWS, "generator": torch.Generator().manual_seed(1)}
    found = {"nats": _short(families.bound(read, x, **how).mean(1))}
    for rule in ("left to right", "surest first"):
        told, every = families.by_masks(read, family.mask_id), torch.ones_like(x, dtype=torch.bool)
        score = duel_nats(told, x, every, family.mask_id, rule=RULES[rule])
        found[f"duel {rule}"] = _short(score)
    return found


def _short(values: Tensor) -> list[float]:
    return [round(v, 4) for v in values.tolist()]


@torch.no_grad()
def one_by_one(read: Denoise, x: Tensor, mask_id: int) -> Tensor:
    """Fill masks one by one with the best token, surest place first, (B, 9)."""
    z, rows, told = torch.full_like(x, mask_id), torch.arange(len(x)), families.by_masks(read, mask_id)
    for _ in range(source.WINDOW):
        best = told(z).softmax(-1).max(-1)
        at = best.values.masked_fill(z != mask_id, -1.0).argmax(-1)
        z[rows, at] = best.indices[rows, at]
    return z


@torch.no_grad()
def next_by_next(read: Denoise, x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Write from the left, by draws, or by the best token without a generator, (B, 9)."""
    z = torch.zeros_like(x)
    for i in range(source.WINDOW):
        p = read(z, None)[:, i].double().softmax(-1)
        z[:, i] = p.argmax(-1) if generator is None else torch.multinomial(p, 1, generator=generator)[:, 0]
    return z


def answers(
    family: families.Family, problems: Sequence[tasks.Problem], forwards: Sequence[int] = FORWARDS
) -> dict[str, str]:
    """Answer problems in every way of the family: one digit a problem."""
    rows, valid = source.encode(problems)
    x, read = rows[:, -source.WINDOW :], reader(family, rows[:, : -source.WINDOW], valid)
    if family.causal:
        drawn = next_by_next(read, x, torch.Generator().manual_seed(2))
        best = next_by_next(read, x, None)
        return {"correct 9": judged(problems, drawn), "correct 9 greedy": judged(problems, best)}
    found, free = {}, torch.ones_like(x, dtype=torch.bool)
    for T in forwards:
        ends = ancestral(read, x, free, prior=family.prior, T=T, generator=torch.Generator().manual_seed(2))
        for end, ids in ends.items():
            found[f"correct {T}" + (" greedy" if end == "greedy" else "")] = judged(problems, ids)
    return found | {"correct surest": judged(problems, one_by_one(read, x, family.mask_id))}


def planted(problems: Sequence[tasks.Problem], x: Tensor) -> Tensor:
    """Make one number of every solution wrong: another one of 0 to source.MOST at one of its four places, (B, 9)."""
    tokenizer = load("llada-mini").tokenizer
    numbers = [tokenizer.convert_tokens_to_ids(str(n)) for n in range(source.MOST + 1)]
    wrong = x.clone()
    for i, problem in enumerate(problems):
        rng = random.Random(problem.skeleton)
        place = rng.choice(NUMBERS)
        wrong[i, place] = rng.choice([n for n in numbers if n != int(x[i, place])])
    return wrong


def hiding_each(read: Denoise, mask_id: int) -> Denoise:
    """Make leave-one-out logits with masks: every place is hidden in turn, nine rows for one."""

    def hidden(z: Tensor, alpha: Tensor) -> Tensor:
        found = []
        for i in range(source.WINDOW):
            one = F.one_hot(torch.tensor(i), source.WINDOW).bool()
            found.append(read(torch.where(one, mask_id, z), torch.full_like(alpha, 1 - 1 / source.WINDOW))[:, i])
        return torch.stack(found, 1)

    return hidden


@torch.no_grad()
def edited(denoise: Denoise, z: Tensor, prior: Tensor, by: str, *, alpha: float = AT, edits: int = EDITS) -> Tensor:
    """Edit solutions up to `edits` times, one token and one forward each, (B, 9)."""
    a, free = torch.full((len(z),), alpha, dtype=torch.float64), torch.ones_like(z, dtype=torch.bool)
    for _ in range(edits):
        z = edit_once(denoise(z, a), z, free, alpha=a, prior=prior, by=by)
    return z


def repaired(family: families.Family, problems: Sequence[tasks.Problem], *, alpha: float = AT) -> dict[str, str]:
    """Edit wrong and true solutions in every way: one digit a problem; hiding each place, of the first HIDDEN."""
    rows, valid = source.encode(problems)
    x, found = rows[:, -source.WINDOW :], {}
    wrong = planted(problems, x)
    for name in (*DETECTORS, "hiding each"):
        n = HIDDEN if name == "hiding each" else len(x)
        read = reader(family, rows[:n, : -source.WINDOW], valid[:n])
        denoise = hiding_each(read, family.mask_id) if name == "hiding each" else read
        by = name if name in DETECTORS else "leave-one-out"
        for what, text in (("fixed", wrong), ("kept", x)):
            out = edited(denoise, text[:n], family.prior, by, alpha=alpha)
            found[f"{what} by {name}"] = judged(problems[:n], out, "clean")
    return found


def told(family: families.Family, problems: Sequence[tasks.Problem]) -> dict[str, str]:
    """Edit wrong solutions by the leave-one-out guess of a network that is told other keep probabilities."""
    rows, valid = source.encode(problems)
    x, read = rows[:, -source.WINDOW :], reader(family, rows[:, : -source.WINDOW], valid)
    found = {}
    for alpha, (what, text) in itertools.product(TOLD, (("fixed", planted(problems, x)), ("kept", x))):
        out = edited(read, text, family.prior, "leave-one-out", alpha=alpha)
        found[f"{what} told {alpha}"] = judged(problems, out, "clean")
    return found


def measured(family: families.Family, size: int | None = None) -> dict:
    """Measure everything of one network, or of the first `size` problems."""
    problems = source.asked(size or source.ASKED)
    row = nats(family, problems[:JUDGED]) | answers(family, problems)
    return row if family.causal else row | repaired(family, problems) | told(family, problems)


# ------------------------------------------------------------------------------------------------ the table


def run(family: str, seed: int, size: int | None = None) -> dict:
    """Measure a row; `size`: only the first steps of the network, as `begin`, a bound on so many problems."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        begin = nats(trained(family, seed, FIRST), source.asked(16))["nats"]
        return {"begin": begin} | ({} if size else measured(trained(family, seed)))
    finally:
        torch.set_num_threads(threads)


NAMES = ("AR", "mask", "hybrid 0.1", "uniform")
SEEDS: dict[str, tuple[int, ...]] = {name: (0, 1, 2) if name == "mask" else (0, 1) for name in NAMES}


def settings() -> list[dict]:
    """List the networks, seed by seed."""
    most = max(map(len, SEEDS.values()))
    return [{"family": name, "seed": s} for s in range(most) for name in NAMES if s in SEEDS[name]]


def mean(rows: Sequence[dict], family: str, column: str) -> float:
    """Mean of a column over problems and seeds."""
    return float(np.mean([[*map(float, row[column])] for row in select(rows, family=family)]))


def against(rows: Sequence[dict], family: str, column: str, other: str = "mask") -> Difference:
    """Compare two families over problems and seeds: nats, or points of exact match."""
    found = of_rows(rows, {"family": family}, {"family": other}, column=column)
    return found if isinstance(select(rows, family=family)[0][column], list) else found.times(100)


def one_by_one_gain(rows: Sequence[dict], family: str) -> Difference:
    """Compare filling masks one by one, surest first, with nine ancestral forwards, in points of exact match."""
    ways = [
        {"way": way, "seed": row["seed"], "correct": row[way]}
        for row in select(rows, family=family)
        for way in ("correct surest", "correct 9")
    ]
    return of_rows(ways, {"way": "correct surest"}, {"way": "correct 9"}, column="correct").times(100)


def one_look(rows: Sequence[dict], family: str, what: str = "fixed", other: str = "mask") -> Difference:
    """Compare a family that edits after one look with another one whose places are hidden in turn, on the first HIDDEN
    problems, in points."""
    ways = {"one look": (family, "leave-one-out"), "hidden": (other, "hiding each")}
    digits_of = [
        {"way": way, "seed": row["seed"], "verdicts": row[f"{what} by {by}"][:HIDDEN]}
        for way, (name, by) in ways.items()
        for row in select(rows, family=name)
    ]
    return of_rows(digits_of, {"way": "one look"}, {"way": "hidden"}, column="verdicts").times(100)


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote: means of every family, and differences to mask."""
    found: dict[str, float | str] = {}
    for what in ("fixed", "kept"):
        edited = {name: one_look(rows, name, what) for name in NAMES if name not in ("AR", "mask")}
        found |= named(f"{what} in one look - mask hiding each,", edited)
    found |= named("one by one,", {name: one_by_one_gain(rows, name) for name in NAMES if name != "AR"})
    for column in select(rows, family="mask")[0]:
        if column in ("family", "seed", "begin"):
            continue
        names = [name for name in NAMES if column in select(rows, family=name)[0]]
        found |= {f"{column}, {name}": mean(rows, name, column) for name in names}
        found |= named(f"{column} - mask,", {name: against(rows, name, column) for name in names if name != "mask"})
    return found


TABLE = Table(
    "12_minigsm",
    settings,
    run,
    live=({"family": "mask", "seed": 0}, {"family": "uniform", "seed": 0}),
    size=16,
    tolerance={"begin": (0.5, 0.05)},
    headlines=headlines,
)
