"""What became of a verdict, an interval over runs, and the share of an effect that is kept."""

import numpy as np
import pytest

from dlmlab.measure.replication import GONE, NEW, NONE, SIZE, STANDS, TURNED, WORDS, again, kept, over_runs


@pytest.mark.parametrize(
    "first, second, change, word",
    [
        ((1, 2), (1, 2), (-1, 1), STANDS),
        ((-2, -1), (-9, -8), (-8, -6), SIZE),
        ((1, 2), (-1, 2), (-2, 1), GONE),
        ((1, 2), (-2, -1), (-4, -2), TURNED),
        ((-1, 1), (-1, 1), (-1, 1), NONE),
        ((0, 1), (1, 2), (0, 1), NEW),
    ],
)
def test_every_word_has_its_case_and_its_mirror_image(first, second, change, word):
    assert again(first, second, change) == word
    assert again(*((-high, -low) for low, high in (first, second, change))) == word
    assert word in WORDS


def test_an_interval_over_runs_covers_the_mean_of_runs_nineteen_times_of_twenty():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(2000):
        _, low, high = over_runs(rng.normal(3.0, 2.0, 3).tolist())
        hits += low < 3.0 < high
    assert 0.935 < hits / 2000 < 0.965
    with pytest.raises(ValueError, match="at least 2"):
        over_runs([1.0])


def test_what_is_kept_does_not_depend_on_units():
    rng = np.random.default_rng(1)
    first, second, errors = (rng.normal(size=9), rng.normal(size=9), rng.uniform(0.5, 2, 9))
    units = 10.0 ** rng.integers(-3, 4, 9)
    assert kept(*(list(x * units) for x in (first, second, errors))) == pytest.approx(
        kept(*map(list, (first, second, errors)))
    )
    assert kept([1.0, -4.0], [1.0, -4.0], [3.0, 1.0]) == 1.0


@pytest.mark.parametrize(
    "lists, message",
    [
        (([], [], []), "non-empty"),
        (([1.0], [1.0], [0.0]), "above 0"),
        (([0.0], [1.0], [1.0]), "all first effects are 0"),
    ],
)
def test_what_has_no_share_is_refused(lists, message):
    with pytest.raises(ValueError, match=message):
        kept(*lists)
