"""Worlds in which nothing is there to find, a simulated literature, and the scale of ratios."""

import math

import numpy as np
import pytest

from dlmlab.measure import store
from dlmlab.study import nb09_again, nb09_controls

ROWS = store.read("09_again")


@pytest.fixture(scope="module")
def asked():
    return nb09_again.report(ROWS, verdicts=nb09_again.VERDICTS[:4])


@pytest.mark.parametrize("worlds", [nb09_controls.null_worlds, nb09_controls.alike_worlds])
def test_worlds_without_an_effect_show_one_in_twenty(asked, worlds):
    found = worlds(ROWS, asked, worlds=400)
    assert found.shape == (400, len(asked)) and set(np.unique(found)) <= {-1.0, 0.0, 1.0}
    assert 0.02 < (found != 0).mean() < 0.08


@pytest.mark.parametrize("cut", [1.96, 0.0])
@pytest.mark.parametrize("spread", [0.5, 1.0, 8.0])
def test_what_is_read_off_its_own_measurement_shrinks_with_and_without_a_cut(cut, spread):
    first, second, _ = nb09_controls.journal(effects=50_000, spread=spread, cut=cut)
    assert min(map(abs, first)) > cut
    assert np.dot(first, second) / np.dot(first, first) == pytest.approx(spread**2 / (1 + spread**2), abs=0.02)


def test_along_the_direction_known_beforehand_only_the_cut_shrinks():
    shares = []
    for cut in (0.0, 1.96):
        first, second, true = nb09_controls.journal(effects=50_000, spread=1.0, cut=cut)
        shares.append(np.dot(np.sign(true), second) / np.dot(np.sign(true), first))
    assert shares[0] == pytest.approx(1.0, abs=0.02) and shares[1] < 0.6


def verdict_of(name):
    (found,) = (v for v in nb09_again.VERDICTS if v.name == name)
    return found


def test_a_ratio_is_that_of_the_means():
    for name in ("70 % pruned: preserve - shuffled", "threshold, one block: delayed cache - none"):
        verdict, logs = verdict_of(name), []
        first, second, change = nb09_controls.in_ratios(ROWS, verdict, resamples=200)
        for pair in nb09_again.PAIRS:
            a, b = (np.mean([*side.values()]) for side in nb09_again.sides(ROWS, pair, verdict))
            logs.append(math.log(a / b) if verdict.column == "nats" else math.log(a * (1 - b) / b / (1 - a)))
        assert (first.mean, second.mean) == pytest.approx(tuple(logs), abs=0.1)
        assert change.mean == pytest.approx(second.mean - first.mean)
        assert all(d.low < d.mean < d.high for d in (first, second, change))


def test_a_side_that_never_errs_and_a_share_of_heads_have_no_ratio():
    for name in ("twin - threshold", "heads with a sink - the twin's, % of states"):
        assert nb09_controls.in_ratios(ROWS, verdict_of(name)) is None
