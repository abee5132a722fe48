"""Lab 21: what this course measured beside each claim, read from the tables of the other notebooks; nothing is typed.

`Quoted` is a difference as a page quotes it: with the word that its table gave it, which also asked every seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from dlmlab.measure import store
from dlmlab.measure.difference import Difference
from dlmlab.study import nb01_sampling, nb03_marks, table

Headlines = dict[str, float | str]


@cache
def headlines(name: str) -> Headlines:
    """Give what pages may quote of a stored table; it is read once."""
    return table(name).headlines(table(name).rows())


def number(name: str, key: str) -> float:
    """Give one number of a stored table. Raises `KeyError` naming the table when it has none of that name."""
    found = headlines(name)
    if key not in found:
        raise KeyError(f"{name} has no {key!r}")
    return float(found[key])


@dataclass(frozen=True)
class Quoted:
    """A difference with its 95 % interval and its word, as its table has them."""

    mean: float
    low: float
    high: float
    word: str

    def __format__(self, spec: str) -> str:
        """Write mean and interval.

        >>> f"{Quoted(-0.4, -0.7, -0.1, 'lower'):+.1f}"
        '-0.4 [-0.7, -0.1]'
        """
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def quoted(name: str, key: str) -> Quoted:
    """Read a difference of a stored table by its headline."""
    low, high = number(name, f"{key}, low"), number(name, f"{key}, high")
    return Quoted(number(name, key), low, high, str(headlines(name)[f"{key}, word"]))


def of(d: Difference) -> Quoted:
    """Quote a difference that its module computes from stored rows."""
    return Quoted(d.mean, d.low, d.high, d.word)


def _mark(model: str, how: str, what: str) -> Callable[[], Quoted]:
    return lambda: of(nb03_marks.cost(store.read("03_marks"), model, how, what))


def _read(name: str, key: str) -> Callable[[], Quoted]:
    return lambda: quoted(name, key)


RATE = 2e-4  # of the students of lab 14 that its verdict is about
STOPPED = "threshold against left to right, stop at end, 6 forwards"
# claim: (what is compared, unit, difference); the first line is the claim's own comparison, the next its control
EVIDENCE: dict[int, tuple[tuple[str, str, Callable[[], Quoted]], ...]] = {
    1: (
        ("threshold 0.9 less one per forward", "points", _read("01_sampling", "threshold against one per forward")),
        ("less left to right with a stop", "points", _read("01_sampling", STOPPED)),
    ),
    2: (
        (
            "one per forward: left to right less surest first",
            "points",
            _read("01_sampling", "left to right, one per forward, against probability"),
        ),
        ("twin less LLaDA, one per forward", "points", _read("01_sampling", "twin against one per forward")),
    ),
    3: (
        (
            "certainty, trained, less before",
            "points",
            _read("14_distilled", "threshold 0.9, points, against before, confidence"),
        ),
        (
            "its forwards less before",
            "forwards",
            _read("14_distilled", "threshold 0.9, forwards, against before, confidence"),
        ),
        (
            "less plain training of its cost",
            "points",
            _read("14_distilled", "threshold 0.9, points, against plain, confidence"),
        ),
        (
            "its forwards less those",
            "forwards",
            _read("14_distilled", "threshold 0.9, forwards, against plain, confidence"),
        ),
        ("less untrained at threshold 0.7", "points", _read("14_distilled", "against threshold 0.7, confidence")),
    ),
    4: (
        ("2 texts: best of 2 less softmax", "points", _read("10_proposals", "one of 2, 10, left_to_right best of 2")),
        ("8 texts: best of 8 less softmax", "points", _read("10_proposals", "one of 8, 10, left_to_right best of 8")),
        ("2 texts: best of 2 less T = 0.5", "points", _read("10_proposals", "one of 2, against T = 0.5 best of 2")),
    ),
    5: (
        ("LLaDA-mini, answer mark hidden", "nats", _mark("llada-mini", "hide", "answer mark")),
        ("the twin, start mark hidden", "nats", _mark("llama-mini", "hide", "start mark")),
        ("LLaDA-mini, the mark's mean value", "nats", _mark("llada-mini", "mean", "answer mark")),
    ),
    6: tuple(
        (f"1 - phi less the same, shuffled, {share} %", "nats", _read("04_sinks", f"llada-mini sink {share} %"))
        for share in (50, 60, 70)
    ),
    7: (
        (
            "GPTQ, 3 bits: LLaDA's loss less the twin's",
            "points",
            _read("05_methods", "gptq LLaDA's loss - twin's, points, 3 bits"),
        ),
        ("GPTQ, 4 bits", "points", _read("05_methods", "gptq LLaDA's loss - twin's, points, 4 bits")),
        ("GPTQ, 2 bits", "points", _read("05_methods", "gptq LLaDA's loss - twin's, points, 2 bits")),
    ),
    8: (
        ("early less late precise, surest first", "points", _read("05_phases", "early - late, 4-3-2 by steps, fixed")),
        ("the same, order by chance", "points", _read("05_phases", "early - late, 4-3-2 by steps, chance")),
        ("early precise less equal bits, chance", "points", _read("05_phases", "chance - uniform, 4-3-2")),
        ("the same, surest first", "points", _read("05_phases", "fixed - uniform, 4-3-2")),
    ),
    9: (
        ("three stages less eight bits alone", "points", _read("06_spq", "points, S+P+Q - Q")),
        (
            "tuned three stages less tuned dense",
            "points",
            _read("06_spq", "points, S+P+Q, fine-tuned - dense, fine-tuned"),
        ),
    ),
    10: (
        ("LLaDA-mini less the exact denoiser", "points", _read("11_memory", "test, correct LLaDA-mini - denoiser")),
        ("a list of 5,000 texts less 20,000", "points", _read("11_memory", "test, against masks, 5,000 texts")),
    ),
    11: (
        (
            "experts less dense, same parameters read",
            "points",
            _read("07_pair", "llada2-mini-toy - dense at 0.9, llada-small, dual cache"),
        ),
        (
            "experts less LLaDA-mini",
            "points",
            _read("07_pair", "llada2-mini-toy - dense at 0.9, llada-mini, dual cache"),
        ),
    ),
    12: (
        ("head less stored confidence, ranking", "points", _read("13_ranked", "five forwards, head - stored")),
        ("the same, drafts at threshold 0.5", "points", _read("13_ranked", "threshold 0.5, head - stored")),
        (
            "rewritten by head less 7 blind forwards",
            "points",
            _read("13_revised", "revised head - 7 forwards, surest first"),
        ),
        (
            "rewritten by head less left to right, stop",
            "points",
            _read("13_revised", "revised head - left to right, 6, stop"),
        ),
    ),
}


@dataclass(frozen=True)
class Factor:
    """How many times cheaper: as published, against the published kind of baseline, and against a fair one.

    `low` and `high` of a factor are its 95 % interval; both equal the factor where it is exact. `harder`: an opponent
    at another setting, and the factor from it, where the course knows one.
    """

    claim: int
    what: str
    published: float
    theirs: tuple[float, float, float]
    fair: tuple[float, float, float]
    baselines: tuple[str, str]
    harder: tuple[str, float] | None = None


def _exact(value: float) -> tuple[float, float, float]:
    return value, value, value


def ratio(a: Sequence, b: Sequence) -> tuple[float, float, float]:
    """Give mean(a) / mean(b) over the same problems, with a 95 % bootstrap interval (10,000 resamples, seed 0).

    `a`, `b`: one value a problem, (P,), or seed by seed, (S, P); then seeds are drawn as well, each side's own. Raises
    `ValueError` when they do not have the same problems, or none.

    >>> ratio([4.0, 2.0], [2.0, 1.0])
    (2.0, 2.0, 2.0)
    """
    x, y = (np.atleast_2d(np.asarray(v, dtype=float)) for v in (a, b))
    n = x.shape[1]
    if y.shape[1] != n or not n:
        raise ValueError(f"need as many problems on both sides, and one at least, got {n} and {y.shape[1]}")
    rng = np.random.default_rng(0)
    problems = rng.multinomial(n, np.full(n, 1 / n), 10_000) / n  # (10000, P)

    def drawn(v: np.ndarray) -> np.ndarray:
        seeds = rng.multinomial(len(v), np.full(len(v), 1 / len(v)), 10_000) / len(v)  # (10000, S)
        return ((seeds @ v) * problems).sum(1)

    low, high = np.quantile(drawn(x) / drawn(y), (0.025, 0.975))
    return float(x.mean() / y.mean()), float(low), float(high)


def forwards(arm: str) -> np.ndarray:
    """Give the forwards of every test problem under threshold 0.9 of a student of lab 14, (seeds, problems)."""
    rows = [row for row in store.read("14_distilled") if row["arm"] == arm and row["rate"] in (0, RATE)]
    return np.array([row["nfe threshold 0.9"] for row in rows], dtype=float)


def factors(left_to_right: Sequence[float]) -> list[Factor]:
    """List what can be compared as a factor. `left_to_right`: forwards of the first test problems, left to right in six
    with a stop; the same problems are taken of the threshold."""
    before, trained, n = forwards("before"), forwards("confidence"), len(left_to_right)
    one = np.full(before.shape[1], 40.0)  # a forward a place
    spq = {name: 1 - number("06_spq", f"points of {name}") / 100 for name in ("S+P+Q", "Q alone")}
    flop = {
        way: number("07_pair", f"{way}, mflop")
        for way in ("llada2-mini-toy, exact cache, 0.9", "llada-small, one block, None", "llada-small, dual cache, 0.9")
    }
    toy, slow, fair = flop.values()
    return [
        Factor(
            1,
            "a threshold, in forwards",
            27.6,
            ratio(one, before),
            ratio(left_to_right, before[:, :n]),
            ("one token a forward", "left to right with a stop"),
        ),
        Factor(
            3,
            "a trained student, in forwards",
            8.5,
            ratio(one, trained),
            ratio(before, trained),
            ("one token a forward", "untrained, same threshold"),
            ("untrained, threshold 0.7", number("14_distilled", "threshold 0.7, nfe") / float(trained.mean())),
        ),
        Factor(
            9,
            "three stages, in bytes",
            4.0,
            _exact(1 / spq["S+P+Q"]),
            _exact(spq["Q alone"] / spq["S+P+Q"]),
            ("float32", "eight bits alone"),
        ),
        Factor(
            11,
            "experts in blocks, in operations",
            10.0,
            _exact(slow / toy),
            _exact(fair / toy),
            ("dense, one token a forward", "dense, threshold, cache"),
            ("LLaDA-mini, threshold, cache", number("07_pair", "llada-mini, dual cache, 0.9, mflop") / toy),
        ),
    ]


def verdicts(method: str, commit: object) -> str:
    """Give the verdicts of a line of notebook 01, one digit a test problem."""
    return store.select(nb01_sampling.stored(), **nb01_sampling.key(method, commit))[0]["correct"]
