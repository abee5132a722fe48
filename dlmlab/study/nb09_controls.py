"""Notebook 09: what a count of verdicts is held against.

`null_worlds` has no effect in the second pair, `alike_worlds` no difference between the pairs, `journal` no change
between two measurements; `in_ratios` asks the same verdicts on another scale.
"""

import functools
from collections.abc import Sequence

import numpy as np

from dlmlab.measure.difference import Difference
from dlmlab.study.nb09_again import PAIRS, Asked, Effects, Verdict, gaps, sides


def null_worlds(rows: Sequence[dict], asked: Sequence[Asked], *, worlds: int = 1000) -> np.ndarray:
    """Ask the second pair in worlds without an effect: every problem's gap gets a sign by chance (worlds, verdicts).

    1: shown, with the sign of the first pair; -1: shown, with the other sign; 0: not shown (z test at 5 %, over
    problems, gaps averaged over seeds).
    """
    rng = np.random.default_rng(0)
    signs = [np.sign(one.first.mean) for one in asked]
    return np.stack(
        [s * _by_chance(_gap(rows, "second", one), rng, worlds) for s, one in zip(signs, asked, strict=True)], 1
    )


def alike_worlds(rows: Sequence[dict], asked: Sequence[Asked], *, worlds: int = 1000) -> np.ndarray:
    """Ask for changes of size in worlds in which the pairs are alike: every problem's two gaps are exchanged by chance.

    True: a change is shown, by the test of `null_worlds` (worlds, verdicts).
    """
    rng = np.random.default_rng(0)
    moved = [_gap(rows, "second", one) - _gap(rows, "first", one) for one in asked]
    return np.stack([_by_chance(gap, rng, worlds) != 0 for gap in moved], 1)


def _gap(rows: Sequence[dict], pair: str, one: Asked) -> np.ndarray:
    return np.mean(list(gaps(rows, pair, one.verdict).values()), axis=0)  # (P,)


def _by_chance(gap: np.ndarray, rng: np.random.Generator, worlds: int) -> np.ndarray:
    """Give every value of (P,) a sign by chance and test the mean: 1, -1 or, not shown, 0 in each world (worlds,)."""
    signed = np.where(rng.random((worlds, len(gap))) < 0.5, gap, -gap)
    z = signed.mean(1) / (signed.std(1, ddof=1) / len(gap) ** 0.5 + 1e-12)
    return np.where(abs(z) > 1.96, np.sign(z), 0.0)


def in_ratios(rows: Sequence[dict], verdict: Verdict, *, resamples: int = 10_000) -> Effects | None:
    """Measure a verdict on the scale of ratios: the log of the ratio of mean nats, or of the odds of a right answer.

    The intervals resample problems and, independently, seeds, the same ones in both pairs and on both sides; half a
    problem is added to the right and to the wrong ones. None where there is no ratio: another column, or a side
    without any wrong, or right, answer.
    """
    if verdict.column not in ("nats", "correct"):
        return None
    both = [[np.stack([*side.values()]) for side in sides(rows, pair, verdict)] for pair in PAIRS]  # (S, P)
    if verdict.column == "correct" and any(x.mean() in (0, 1) for pair in both for x in pair):
        return None
    S, P = both[0][0].shape
    problems, seeds = _weights(P, resamples), _weights(S, resamples)

    def effects(mean_of) -> np.ndarray:  # of (S, P) values a mean for each resample
        first, second = (_log(mean_of(a), verdict, P) - _log(mean_of(b), verdict, P) for a, b in both)
        return np.stack([first, second, second - first])

    whole, single = effects(lambda x: x.mean(keepdims=True)[0]), effects(lambda x: x.mean(1))
    drawn = np.quantile(effects(lambda x: (problems @ x.T * seeds).sum(1)), (0.025, 0.975), axis=1)
    parts = zip(whole[:, 0], *drawn, single, strict=True)
    first, second, moved = (Difference(float(m), float(lo), float(hi), tuple(s.tolist())) for m, lo, hi, s in parts)
    return first, second, moved


@functools.cache
def _weights(n: int, resamples: int) -> np.ndarray:
    """Give the share that each of n values has in each resample (R, n)."""
    return np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), resamples) / n


def _log(mean: np.ndarray, verdict: Verdict, P: int) -> np.ndarray:
    if verdict.column == "nats":
        return np.log(mean)
    return np.log((mean + 0.5 / P) / (1 - mean + 0.5 / P))


def journal(*, effects: int, spread: float, cut: float = 1.96) -> tuple[list[float], list[float], list[float]]:
    """Simulate a literature: true effects with a spread (in standard errors) are measured twice, and those are kept
    whose first measurement exceeds the cut. Gives the kept first and second measurements, and the true effects."""
    rng = np.random.default_rng(0)
    true = spread * rng.standard_normal(effects)
    first, second = (true + rng.standard_normal(effects) for _ in range(2))
    kept = abs(first) > cut
    return first[kept].tolist(), second[kept].tolist(), true[kept].tolist()
