"""Notebook 09: verdicts of notebooks 01 to 08, asked again of a second pair of models.

A verdict is a difference between two sides of a stored table. `09_again` holds the rows of these sides, measured with
the second pair (`SECOND`) under the names and by the code of the first (`stand_in`); the first pair's rows are read
where they have always been. Where these are too few (`MORE`), the first pair's rows are measured here as well.

Both pairs are compared problem by problem and draw by draw: `effect` is the difference in one pair, `change` that of
the second less that of the first. The pairs differ in seed, tokens and recipe at once. So what agrees has survived all
three, and what does not agree does not say which of them did it.

`VERDICTS` were chosen before the second pair was asked, and only they are counted. `LATER` were added by somebody who
had seen both pairs and doubted a sentence: they are shown beside the count, for what was chosen after looking is no
sample.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dlmlab import study
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.measure import difference, replication, store
from dlmlab.measure.difference import Difference
from dlmlab.measure.table import Table
from dlmlab.study import nb01_sampling, nb03_movement, nb04_sparsity, nb05_methods
from dlmlab.study.judging import answer_bound
from dlmlab.study.stand_in import standing_in

PAIRS = ("first", "second")
SECOND = {"llada-mini": "llada-mini-b", "llama-mini": "llama-mini-b"}
MORE = {"08_front": 500}  # problems, where the first pair's table has fewer
KEPT = ("correct", "nats", "nfe", "bound", "twin", "has", "spread")  # columns that a verdict may need
MINI, TWIN = SECOND


Effects = tuple[Difference, Difference, Difference]  # in the first pair, in the second, second less first


@dataclass(frozen=True)
class Verdict:
    """A sentence of a notebook about the difference between two sides of a table, in points or nats or as it is."""

    notebook: str
    name: str
    table: str
    a: dict
    b: dict
    column: str = "nats"
    unit: str = field(default="nats", kw_only=True)

    @property
    def factor(self) -> float:
        return 100.0 if self.unit == "points" else 1.0


def _sampled(method: str, commit) -> dict:
    return {"method": method, "sampler": repr(commit)}


def _points(notebook: str, name: str, table: str, a: dict, b: dict) -> Verdict:
    return Verdict(notebook, name, table, a, b, "correct", unit="points")


def _01(name: str, a: dict, b: dict) -> Verdict:
    return _points("01", name, "01_sampling", a, b)


def _mark(name: str, how: str, what: str, other: tuple[str, str]) -> Verdict:
    side = {"model": MINI}
    return Verdict(
        "03", name, "03_marks", side | {"how": how, "what": what}, side | {"how": other[0], "what": other[1]}
    )


def _curve(name: str, a: str, b: str) -> Verdict:
    return Verdict("04", name, "04_sparsity", *({"curve": curve, "sparsity": 0.5} for curve in (a, b)))


def _weighted(name: str, model: str, weight: str, control: str, sparsity: float) -> Verdict:
    arm = {"model": model, "method": "wanda", "sparsity": sparsity}
    return Verdict("04", name, "04_sinks", arm | {"weight": weight}, arm | {"weight": control})


def _bits(name: str, column: str, a: tuple[str, int], b: tuple[str, int]) -> Verdict:
    sides = ({"model": MINI, "method": method, "bits": bits} for method, bits in (a, b))
    return Verdict("05", name, "05_methods", *sides, column, unit="points" if column == "correct" else "nats")


def _phases(name: str, by: str, rule: str) -> Verdict:
    sides = ({"by": by, "rule": rule, "levels": levels} for levels in ("4-3-2", "2-3-4"))
    return Verdict("05", name, "05_phases", *sides, *(("nats",) if by == "nats" else ("correct",)),
                   unit="nats" if by == "nats" else "points")  # fmt: skip


THRESHOLD = _sampled("threshold", Threshold(0.9))
SURE, LEFT, CHANCE = (_sampled(name, Fixed(5)) for name in ("probability", "left to right", "random order"))
STOPPED, LEFT_3 = _sampled(nb01_sampling.STOPPED, Fixed(6)), _sampled("left to right", Fixed(3))
BLOCKS = "blocks of 8"
VERDICTS = (
    _01("left to right - surest first, 5 forwards", LEFT, SURE),
    _01("surest first - chance, 5 forwards", SURE, CHANCE),
    _01("threshold - left to right, 3 forwards", THRESHOLD, LEFT_3),
    _01("threshold - left to right with a stop, 6", THRESHOLD, STOPPED),
    _01("threshold: blocks of 8 - one block", _sampled("threshold, blocks of 8", Threshold(0.9)), THRESHOLD),
    _01("threshold: guidance 1 - none", _sampled("guidance 1.0", Threshold(0.9)), THRESHOLD),
    _01("twin - threshold", _sampled(nb01_sampling.TWIN, Fixed()), THRESHOLD),
    Verdict("02", "bound of the answer - the twin's nats", "02_bounds", {"side": "bound"}, {"side": "twin"}),
    _mark("answer mark hidden - untouched", "hide", "answer mark", ("nothing", "")),
    _mark("answer mark's mean - untouched", "mean", "answer mark", ("nothing", "")),
    _mark("start mark hidden - a random token hidden", "hide", "start mark", ("hide", "token")),
    Verdict(
        "03", "heads with a sink - the twin's, % of states", "03_movement",
        {"source": "denoised"}, {"source": "written"}, "has", unit="points",
    ),
    Verdict(
        "03", "sinks' movement - noise floor, % of length²", "03_movement",
        {"source": "denoised"}, {"source": "one level"}, "spread", unit="points",
    ),
    _curve("half pruned: Wanda - magnitude", "Wanda, noised texts", "magnitude"),
    _curve("half pruned: SparseGPT - Wanda", "SparseGPT, noised texts", "Wanda, noised texts"),
    _curve("half pruned: Wanda refitted - Wanda", "Wanda mask, refit", "Wanda, noised texts"),
    _weighted("70 % pruned: weights 1 - φ - shuffled", MINI, "sink", "shuffled", 0.7),
    _weighted("70 % pruned: preserve - shuffled", MINI, "preserve", "preserve shuffled", 0.7),
    _weighted("50 % pruned: preserve - shuffled", MINI, "preserve", "preserve shuffled", 0.5),
    _weighted("70 % pruned, twin: preserve - shuffled", TWIN, "preserve", "preserve shuffled", 0.7),
    _bits("3 bits: GPTQ - RTN", "correct", ("gptq", 3), ("rtn", 3)),
    _bits("3 bits: RTN - noise as large", "nats", ("rtn", 3), ("noise", 3)),
    Verdict(
        "05", "3 bits, RTN: loss - the twin's loss", "05_methods", {"loss": MINI}, {"loss": TWIN}, "lost",
        unit="points",
    ),
    _phases("early precise - late precise, surest first", "fixed", "steps"),
    _phases("early precise - late precise, chance", "chance", "steps"),
    _points("06", "prune first - quantize first", "06_orders", {"method": "P->Q"}, {"method": "Q->P"}),
    _points(
        "08", "threshold in blocks: dual cache - none", "08_front",
        {"family": "threshold, dual cache", "setting": BLOCKS}, {"family": "threshold, no cache", "setting": BLOCKS},
    ),
    _points(
        "08", "threshold, one block: delayed cache - none", "08_front",
        {"family": "threshold, delayed cache", "setting": "one block"}, {"family": "threshold", "setting": "tau 0.9"},
    ),
)  # fmt: skip
LATER = (
    _mark("answer mark hidden - a random token hidden", "hide", "answer mark", ("hide", "token")),
    _mark("start mark hidden - answer mark hidden", "hide", "start mark", ("hide", "answer mark")),
)


# ------------------------------------------------------------------------------------------------ rows


def movement_rows(rows: Sequence[dict]) -> list[dict]:
    """Join the rows of `03_movement`, one a problem, to one a source and seed: `has`, the share of states in which a
    head has a sink, mean over heads; `spread`, the movement of the sinks, mean over the heads that have one in half of
    the states while decoding. What is decoded has no seed."""
    usual = nb03_movement.by_head(rows, "denoised", "has").mean(0) >= 0.5
    keys = dict.fromkeys((row["source"], row["seed"]) for row in rows)
    found = []
    for source, seed in keys:
        mine = [row for row in rows if (row["source"], row["seed"]) == (source, seed)]
        has = [float(np.mean(row["has"])) for row in mine]
        moved = [[v for v, often in zip(row["centroid"], usual, strict=True) if often and v == v] for row in mine]
        chance = None if source != "one level" else seed
        line = {"source": source, "seed": chance, "has": [round(v, 6) for v in has]}
        found.append(line if source == "written" else line | {"spread": [round(float(np.mean(v)), 6) for v in moved]})
    return found


def bound_rows(rows: Sequence[dict]) -> list[dict]:
    """Give bound and exact likelihood of the answers in `02_bounds`, one row a side."""
    sides = {"bound": [row["answer"]["bound"] for row in rows], "twin": [row["twin"]["answer"] for row in rows]}
    return [{"side": side, "seed": None, "nats": [round(v, 5) for v in nats]} for side, nats in sides.items()]


JOINED = {"02_bounds": bound_rows, "03_movement": movement_rows}  # tables with a row a problem


def _asked(table: str) -> list[dict]:
    """List the keys of a table that a verdict needs; of a table that is joined, one for all."""
    if table in JOINED:
        return [{}]
    sides = [side for v in VERDICTS if v.table == table for side in _sides(v)]
    return [key for key in study.table(table).settings() if any(side.items() <= key.items() for side in sides)]


def _sides(verdict: Verdict) -> list[dict]:
    """Give the rows that the sides of a verdict select."""
    if verdict.column != "lost":
        return [verdict.a, verdict.b]
    return [{"model": model, "method": method} | bits for model in SECOND for method, bits in LOSS.items()]


LOSS = {"float": {"bits": 32}, "rtn": {"bits": 3}}


def settings() -> list[dict]:
    """List the rows: of the second pair everything, of the first what its own tables have of too few problems."""
    tables = dict.fromkeys(v.table for v in VERDICTS)
    return [
        {"pair": pair, "table": table} | key
        for table in tables
        for pair in (("second", "first") if table in MORE else ("second",))
        for key in _asked(table)
    ]


def run(pair: str, table: str, size: int | None = None, **key) -> dict:
    """Measure one row with the code of its own table, the weights of a pair under the names of the first."""
    with standing_in(SECOND if pair == "second" else {}):
        if table in JOINED:
            return {"rows": JOINED[table](_whole(table, size))}
        if table in JUDGED_BY_NATS:
            found = JUDGED_BY_NATS[table](size=size, **key)
        else:
            found = study.table(table).run(**key, size=size or MORE.get(table))
    return {column: found[column] for column in KEPT if column in found}


def _curve_nats(curve: str, sparsity: float, seed: int | None, size: int | None) -> dict:
    """Measure the likelihood of a model of `04_sparsity`; its answers, which take most of the time, no verdict asks."""
    (chosen,) = (c for c in nb04_sparsity.CURVES if c.name == curve)
    return {"nats": answer_bound(nb04_sparsity.pruned(chosen, sparsity, seed or 0), size=size)}


def _bits_nats(model: str, method: str, bits: int, seed: int, size: int | None) -> dict:
    """The same for `05_methods`, where only noise is asked for nothing else."""
    if method != "noise":
        return nb05_methods.run(model, method, bits, seed, size)
    return {"nats": nb05_methods.bound(nb05_methods.quantized(model, method, bits, seed), seed, size)}


JUDGED_BY_NATS = {"04_sparsity": _curve_nats, "05_methods": _bits_nats}


def _whole(table: str, size: int | None) -> list[dict]:
    original = study.table(table)
    keys = [key for key in original.settings() if size is None or key["problem"] < size]
    return [key | original.run(**key) for key in keys]


@functools.cache
def _original(table: str) -> list[dict]:
    rows = store.read(table)
    return JOINED[table](rows) if table in JOINED else rows


def rows_of(rows: Sequence[dict], pair: str, table: str) -> list[dict]:
    """Give the rows of a pair under the keys of the original table."""
    if pair == "first" and table not in MORE:
        return _original(table)
    mine = store.select(rows, pair=pair, table=table)
    return [row for whole in mine for row in whole["rows"]] if table in JOINED else mine


def _losses(rows: Sequence[dict]) -> list[dict]:
    """Make rows of what rounding to three bits loses each model, problem by problem."""
    found = []
    for model in SECOND:
        for small in store.select(rows, model=model, method="rtn", **LOSS["rtn"]):
            (whole,) = store.select(rows, model=model, method="float", seed=small["seed"])
            lost = [int(a) - int(b) for a, b in zip(whole["correct"], small["correct"], strict=True)]
            found.append({"loss": model, "seed": small["seed"], "lost": lost})
    return found


# ------------------------------------------------------------------------------------------------ verdicts


def sides(rows: Sequence[dict], pair: str, verdict: Verdict) -> tuple[dict, dict]:
    """Give both sides of a verdict, each by seed, one value a problem (P,), verdicts as shares (seed None: nothing was
    drawn, and it is there for every seed of the other side)."""
    mine = rows_of(rows, pair, verdict.table)
    mine = _losses(mine) if verdict.column == "lost" else mine
    found = []
    for key in (verdict.a, verdict.b):
        chosen = [row for row in store.select(mine, **key) if verdict.column in row]
        found.append({row.get("seed"): np.array([*map(float, row[verdict.column])]) for row in chosen})
    a, b = ({None: x} if len(side) == 1 else side for side in found for x in [next(iter(side.values()))])
    seeds = [seed for seed in dict.fromkeys((*a, *b)) if seed is not None] or [None]
    return tuple({s: side.get(s, side.get(None)) for s in seeds} for side in (a, b))


def gaps(rows: Sequence[dict], pair: str, verdict: Verdict) -> dict[object, np.ndarray]:
    """Give a - b of a verdict by seed, one value a problem (P,)."""
    a, b = sides(rows, pair, verdict)
    return {seed: a[seed] - b[seed] for seed in a}


def interval(values: dict[object, np.ndarray], factor: float = 1.0) -> Difference:
    """Give the mean of gaps, times a factor, with its interval over problems and seeds, by `measure.difference`."""
    rows = [
        {"side": side, "seed": seed, "gap": (gap if side == "a" else np.zeros_like(gap)).tolist()}
        for seed, gap in values.items()
        for side in ("a", "b")
    ]
    return difference.of_rows(rows, {"side": "a"}, {"side": "b"}, column="gap").times(factor)


def effect(rows: Sequence[dict], pair: str, verdict: Verdict) -> Difference:
    """Give the difference that a verdict is about, in one pair."""
    return interval(gaps(rows, pair, verdict), verdict.factor)


def word(first: Difference, second: Difference, changed: Difference) -> str:
    """Say what became of a verdict, with the rule of `difference`: a seed that disagrees leaves a side open."""
    return replication.again(*(d.span for d in (first, second, changed)))


@dataclass(frozen=True)
class Asked:
    """A verdict with its effects, the change, and the word."""

    verdict: Verdict
    first: Difference
    second: Difference
    change: Difference

    @property
    def word(self) -> str:
        return word(self.first, self.second, self.change)


def report(rows: Sequence[dict], keep: slice | None = None, *, verdicts: Sequence[Verdict] = VERDICTS) -> list[Asked]:
    """Ask every verdict again; `keep`: on a part of the problems only."""
    found = []
    for verdict in verdicts:
        first, second = (gaps(rows, pair, verdict) for pair in PAIRS)
        if keep is not None:
            first, second = ({seed: gap[keep] for seed, gap in side.items()} for side in (first, second))
        moved = {seed: second[seed] - first[seed] for seed in first}
        found.append(Asked(verdict, *(interval(side, verdict.factor) for side in (first, second, moved))))
    return found


def standard_error(d: Difference) -> float:
    """Read a standard error off a 95 % interval: its width over 2 · 1.96."""
    return (d.high - d.low) / 3.92


def shown(asked: Sequence[Asked]) -> list[Asked]:
    """Keep the verdicts that the first pair shows: of the others none can stand."""
    return [one for one in asked if one.first.word != "no difference shown"]


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote: for every verdict both effects and the change, and how many have which word.

    Counts are of `VERDICTS` alone.
    """
    asked, found = report(rows), {}
    for one in (*asked, *report(rows, verdicts=LATER)):
        name = f"{one.verdict.notebook}: {one.verdict.name}"
        for part, d in (("first", one.first), ("second", one.second), ("change", one.change)):
            found |= {f"{name}, {part}": d.mean, f"{name}, {part}, low": d.low, f"{name}, {part}, high": d.high}
        found |= {f"{name}, first, word": one.first.word, f"{name}, second, word": one.second.word}
        found[f"{name}, word"] = one.word
    words = [one.word for one in asked]
    found |= {f"count, {word}": float(words.count(word)) for word in replication.WORDS}
    striking = shown(asked)
    alike = sum(one.first.mean * one.second.mean > 0 for one in striking)
    found |= {"verdicts": float(len(asked)), "shown": float(len(striking)), "shown, same sign": float(alike)}
    errors = [standard_error(one.first) for one in striking]
    effects = ([one.first.mean for one in striking], [one.second.mean for one in striking])
    return found | {"kept": replication.kept(*effects, errors)}


TABLE = Table(
    "09_again",
    settings,
    run,
    live=(
        {"pair": "second", "table": "01_sampling", **LEFT, "seed": 0},
        {"pair": "second", "table": "03_marks", "model": MINI, "how": "hide", "what": "answer mark", "seed": 0},
        {"pair": "second", "table": "05_methods", "model": MINI, "method": "rtn", "bits": 3, "seed": 0},
    ),
    size=10,
    tolerance={"nats": (0.02, 0.05), "nfe": (2.0, 0.5)},
    headlines=headlines,
)
