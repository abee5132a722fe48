"""The difference of two measurements of the same problems, its interval, and the word for it.

The rule for the word is written once, here: a difference is `lower` or `higher` only when its whole interval and every
seed say so. The interval is a paired bootstrap over problems and, where a measurement was repeated with other texts or
noise, over these seeds too: each resample draws problems and, independently, seeds (Owen 2007, arXiv 0711.3256, on
bootstrapping crossed factors). Three seeds say little about their own spread (resampled, it comes out about a fifth too
small), which is why every seed has to agree as well. Few verdicts that differ say little, too: without seeds they must
pass the exact sign test.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.stats import binomtest
from scipy.stats import t as student_t

from dlmlab.measure.store import select

NOTHING = 1e-12  # smaller numbers are what rounding left of 0


@dataclass(frozen=True)
class Difference:
    """`mean` of a - b with its 95 % interval over problems and seeds, and the mean of each seed, if any."""

    mean: float
    low: float
    high: float
    seeds: tuple[float, ...] = ()

    @property
    def word(self) -> str:
        """Say "lower" or "higher" when the interval and every seed agree, else "no difference shown".

        >>> Difference(-0.4, -0.7, -0.1).word
        'lower'
        >>> Difference(-0.4, -0.7, -0.1, seeds=(-0.9, 0.1)).word
        'no difference shown'
        """
        if self.high < 0 and all(seed < 0 for seed in self.seeds):
            return "lower"
        if self.low > 0 and all(seed > 0 for seed in self.seeds):
            return "higher"
        return "no difference shown"

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest value that the interval or a seed allows.

        >>> Difference(0.4, 0.1, 0.7, seeds=(0.3, 0.9)).span
        (0.1, 0.9)
        """
        return min((self.low, *self.seeds)), max((self.high, *self.seeds))

    def times(self, factor: float) -> "Difference":
        """Change the unit, as from shares to points; a negative factor turns the interval round."""
        low, high = sorted((factor * self.low, factor * self.high))
        return Difference(factor * self.mean, low, high, tuple(factor * seed for seed in self.seeds))

    def __format__(self, spec: str) -> str:
        """Write mean and interval. What a sum left of 0 is 0: its sign is the processor's.

        >>> f"{Difference(-0.4, -0.7, -0.1):+.2f}"
        '-0.40 [-0.70, -0.10]'
        >>> f"{Difference(0.3 - (0.1 + 0.2), -0.7, 0.7):+.1f}"
        '+0.0 [-0.7, +0.7]'
        """
        mean, low, high = (0.0 if abs(value) < NOTHING else value for value in (self.mean, self.low, self.high))
        return f"{mean:{spec}} [{low:{spec}}, {high:{spec}}]"


def between(a: Sequence[float] | str, b: Sequence[float] | str) -> Difference:
    """Mean of a - b over the same problems, with a 95 % bootstrap interval (10,000 resamples of problems, seed 0).

    `a`, `b`: one value a problem; a string of digits ("0110", as tables store verdicts) counts as such values. Raises
    `ValueError` when the two do not judge the same number of problems.

    Verdicts that differ nowhere (or everywhere) leave nothing to resample; their interval is as wide as Wilson's bound
    on the share of problems that would differ and were not seen. Where few differ, resampling finds intervals that are
    too narrow (four that differ one way are enough to exclude 0): an interval of verdicts reaches 0 unless the exact
    sign test of those that differ (McNemar 1947) rejects 0 at 5 %.

    >>> [f"{between('1' * n + '0' * 500, '0' * (n + 500)).times(100):.1f}" for n in (5, 6)]
    ['1.0 [0.0, 2.0]', '1.2 [0.4, 2.2]']
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"need two equally long, non-empty lists, got {len(a)} and {len(b)}")
    differences = _values(a) - _values(b)
    if (differences == differences[0]).all():
        return _alike(float(differences[0]), len(differences), _verdicts(_values(a), _values(b)))
    means = _occurrences(len(differences)) @ differences / len(differences)  # as scipy's `bootstrap` draws them
    low, high = map(float, np.quantile(means, (0.025, 0.975)))
    if _verdicts(_values(a), _values(b)) and not _rejects(differences):
        low, high = min(low, 0.0), max(high, 0.0)
    return Difference(float(differences.mean()), low, high)


def of_rows(rows: Sequence[dict], a: dict, b: dict, *, column: str = "nats") -> Difference:
    """Difference of the rows with key `a` and those with key `b`; problems are paired, seed by seed.

    The interval is over problems and seeds (10,000 resamples of both, seed 0). Only seeds that both have are used; a
    row of seed None, in which there is no chance, is paired with every seed of the other. Rows without the column do
    not count. Raises `ValueError` when no pair is left, or a pair does not judge the same number of problems.
    """
    ours, theirs = (
        {row.get("seed"): _values(row[column]) for row in select(rows, **key) if column in row} for key in (a, b)
    )
    ours, theirs = (
        dict.fromkeys(other, x[None]) if set(x) == {None} else x for x, other in ((ours, theirs), (theirs, ours))
    )
    common = sorted(ours.keys() & theirs.keys(), key=str)
    if not common:
        raise ValueError(f"{a} and {b} have no seed in common")
    if len(common) == 1:
        found = between(ours[common[0]], theirs[common[0]])
        return Difference(found.mean, found.low, found.high, (found.mean,))
    if len(sizes := {len(x[seed]) for x in (ours, theirs) for seed in common}) > 1:
        raise ValueError(f"{a} and {b} judge {sorted(sizes)} problems: must be the same")
    pairs = [(ours[seed], theirs[seed]) for seed in common]
    return _crossed(np.stack([a - b for a, b in pairs]), _verdicts(*(x for pair in pairs for x in pair)))


def of_seeds(rows: Sequence[dict], a: dict, b: dict, *, column: str) -> Difference:
    """Difference of two measurements that give one number a seed: the mean over seeds with its 95 % t interval.

    Seeds are paired where both have them; a row of seed None is paired with every seed of the other. What chance within
    a seed does (samples, noise) is part of the spread. Raises `ValueError` for fewer than two pairs.

    >>> rows = [{"k": k, "seed": s, "x": k + 0.1 * s * k} for k in (0, 1) for s in (0, 1, 2)]
    >>> f"{of_seeds(rows, {'k': 1}, {'k': 0}, column='x'):.2f}"
    '1.10 [0.85, 1.35]'
    """
    ours, theirs = ({row.get("seed"): float(row[column]) for row in select(rows, **key)} for key in (a, b))
    ours, theirs = (
        dict.fromkeys(other, x[None]) if set(x) == {None} else x for x, other in ((ours, theirs), (theirs, ours))
    )
    seeds = sorted(ours.keys() & theirs.keys(), key=str)
    if len(seeds) < 2:
        raise ValueError(f"{a} and {b} have {len(seeds)} seeds in common: a spread needs two")
    values = np.array([ours[seed] - theirs[seed] for seed in seeds])
    half = float(student_t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return Difference(_mean(values), _mean(values) - half, _mean(values) + half, tuple(values.tolist()))


def words(found: dict[str, Difference]) -> str:
    """Say of several differences, by name, which words they have: a verdict over sparsities, say.

    >>> low, none = Difference(-0.4, -0.7, -0.1), Difference(0.0, -0.1, 0.1)
    >>> words({"50 %": none, "60 %": low, "70 %": low})
    'no difference shown (50 %), lower (60 %, 70 %)'
    """
    by_word: dict[str, list[str]] = {}
    for name, difference in found.items():
        by_word.setdefault(difference.word, []).append(name)
    return ", ".join(f"{word} ({', '.join(names)})" for word, names in by_word.items())


def headlines(name: str, found: dict[str, Difference]) -> dict[str, float | str]:
    """Name the numbers of several differences, and their words, as pages quote them.

    >>> headlines("a", {"60 %": Difference(-0.4, -0.7, -0.1)})
    {'a 60 %': -0.4, 'a 60 %, low': -0.7, 'a 60 %, high': -0.1, 'a 60 %, word': 'lower', 'a, words': 'lower (60 %)'}
    """
    each = {}
    for key, d in found.items():
        parts = {"": d.mean, ", low": d.low, ", high": d.high, ", word": d.word}
        each |= {f"{name} {key}{part}": value for part, value in parts.items()}
    return each | {f"{name}, words": words(found)}


def _crossed(differences: np.ndarray, verdicts: bool, resamples: int = 10_000) -> Difference:
    """Bootstrap the mean of differences (seeds, problems), rows and columns drawn independently."""
    seeds, (S, P) = tuple(_mean(row) for row in differences), differences.shape
    if (differences == differences[0, 0]).all():
        return replace(_alike(float(differences[0, 0]), P, verdicts), seeds=seeds)
    rows, columns = _weights(S, P, resamples)
    low, high = np.quantile(((rows @ differences) * columns).sum(1), (0.025, 0.975))
    return Difference(float(differences.mean()), float(low), float(high), seeds)


def _alike(value: float, n: int, verdicts: bool) -> Difference:
    """Give the interval of n differences that all have one value. Problems, not seeds, are counted."""
    if not verdicts:
        return Difference(value, value, value)
    room = float(binomtest(0, n).proportion_ci(0.95, method="wilson").high)
    return Difference(value, max(value - room, -1.0), min(value + room, 1.0))


def _rejects(differences: np.ndarray) -> bool:
    """Say whether verdicts that differ do so more often one way than chance would, at 5 %."""
    up, down = int((differences > 0).sum()), int((differences < 0).sum())
    return up + down > 0 and binomtest(up, up + down).pvalue < 0.05


def _verdicts(*values: np.ndarray) -> bool:
    return all(bool(np.isin(v, (0, 1)).all()) for v in values)


@lru_cache(maxsize=4)
def _weights(S: int, P: int, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw how often each seed and each problem occurs in every resample; a page asks for the same ones many times."""
    rng = np.random.default_rng(0)
    return tuple(rng.multinomial(n, np.full(n, 1 / n), resamples) / n for n in (S, P))


@lru_cache(maxsize=4)
def _occurrences(n: int, resamples: int = 10_000) -> np.ndarray:
    """Draw n of n problems many times, (resamples, n): how often each was drawn. All lists of one length share it."""
    drawn = np.random.default_rng(0).integers(0, n, (resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.uint8)


def _values(values: Sequence[float] | str) -> np.ndarray:
    return np.array([*map(float, values)])


def _mean(values: np.ndarray) -> float:
    return sum(values.tolist()) / len(values)
