"""A difference gets its word from the interval and from every seed; the interval is a paired bootstrap."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from dlmlab.measure.difference import Difference, between, of_rows, of_seeds, words
from dlmlab.measure.evaluate import Proportion

RNG = np.random.default_rng(0)
EASY, HARD = RNG.normal(2.0, 0.1, 40), RNG.normal(3.0, 0.1, 40)


def rows(**runs: list[list[float]]) -> list[dict]:
    return [{"m": m, "seed": s, "nats": list(v)} for m, seeds in runs.items() for s, v in enumerate(seeds)]


# ------------------------------------------------------------------------------------------------------------ the word


def test_less_is_lower_and_more_is_higher():
    assert between(EASY, HARD).word == "lower"
    assert between(HARD, EASY).word == "higher"
    table = rows(easy=[EASY, EASY + 0.1], hard=[HARD, HARD - 0.1])
    assert of_rows(table, {"m": "easy"}, {"m": "hard"}).word == "lower"
    assert of_rows(table, {"m": "hard"}, {"m": "easy"}).word == "higher"


@pytest.mark.parametrize("sign, word", [(-1, "lower"), (1, "higher")])
def test_one_seed_that_disagrees_takes_the_word_away(sign, word):
    found = Difference(sign * 0.5, *sorted((sign * 0.2, sign * 0.8)), seeds=(sign * 0.4, sign * 0.6))
    assert found.word == word
    assert Difference(found.mean, found.low, found.high, (*found.seeds, -sign * 0.1)).word == "no difference shown"
    assert Difference(found.mean, found.low, found.high, (*found.seeds, 0.0)).word == "no difference shown"


@pytest.mark.parametrize("low, high", [(-0.1, 0.3), (0.0, 0.3), (-0.3, 0.0), (0.0, 0.0)])
def test_an_interval_that_touches_zero_shows_nothing_whatever_the_seeds_say(low, high):
    for seeds in ((), (0.1, 0.2), (-0.1, -0.2)):
        assert Difference((low + high) / 2, low, high, seeds).word == "no difference shown"


# -------------------------------------------------------------------------------------------------------- the interval


def test_verdicts_that_agree_everywhere_are_no_proof_of_equality():
    """None of n differs: Wilson's bound says how many of other problems may. A resample alone would say [0, 0]."""
    for n in (2, 100, 500):
        found, bound = between("1" * n, "1" * n), Proportion(0, n).interval[1]
        assert (found.mean, found.low, found.high) == (0.0, -bound, bound) and found.word == "no difference shown"
    assert between([True, False], [True, False]) == between("10", "10")
    all_lost = between("0" * 100, "1" * 100)
    assert all_lost.mean == all_lost.low == -1 and all_lost.high == pytest.approx(-1 + Proportion(0, 100).interval[1])
    table = [{"m": m, "seed": seed, "correct": "11" * 50} for m in "ab" for seed in range(3)]
    found = of_rows(table, {"m": "a"}, {"m": "b"}, column="correct")
    assert found.high == pytest.approx(Proportion(0, 100).interval[1])  # three seeds do not make more problems
    assert found.seeds == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("sign, word", [(1, "higher"), (-1, "lower")])
def test_a_handful_of_verdicts_that_differ_one_way_is_no_word(sign, word):
    for n in range(1, 9):  # two-sided, five heads of five are one in sixteen, six of six one in thirty-two
        pair = ["1" * n + "0" * (500 - n), "0" * 500][::sign]
        found = between(*pair)
        assert found.word == (word if n > 5 else "no difference shown") and found.mean == sign * n / 500
        assert found.low <= found.mean <= found.high and (n > 5 or 0 in (found.low, found.high))


def test_coins_that_fall_alike_get_a_word_once_in_twenty_at_most():
    words = 0
    for rng in map(np.random.default_rng, range(400)):
        a, b = np.zeros((2, 200))
        differ = rng.integers(0, 2, rng.poisson(5))
        a[: len(differ)], b[: len(differ)] = differ, 1 - differ
        words += between(a, b).word != "no difference shown"
    assert 0 < words <= 0.05 * 400


def test_a_difference_is_zero_only_when_nothing_differs():
    assert between([1.5, 2.5], [1.5, 2.5]) == Difference(0.0, 0.0, 0.0)  # no verdicts: there is no scale to bound
    found = between([True] * 30 + [False] * 70, [False] * 100)
    assert found.mean == pytest.approx(0.3) and 0.2 < found.low < 0.3 < found.high < 0.4


def test_problems_are_paired():
    """A gain of 0.1 on every problem stands out from problems that differ by a hundred times as much."""
    level = np.linspace(0, 10, 40)
    found = between(level + 0.1 + RNG.normal(0, 0.01, 40), level)
    assert found.word == "higher" and found.high - found.low < 0.02


def test_verdicts_are_compared_as_the_tables_store_them():
    a, b = "1101", "0101"
    assert between(a, b) == between([True, True, False, True], [False, True, False, True])


@pytest.mark.parametrize("a, b", [([], []), ([1.0], [1.0, 2.0]), ("", "1")])
def test_lists_that_cannot_be_paired_are_refused(a, b):
    with pytest.raises(ValueError, match=f"got {len(a)} and {len(b)}"):
        between(a, b)


# ---------------------------------------------------------------------------------------------------------------- rows


def test_rows_are_paired_over_problems_and_shown_for_each_seed():
    table = rows(a=[[2.0, 10.0, 5.0], [3.0, 11.0, 6.0]], b=[[1.0, 9.0, 4.0], [2.0, 10.0, 5.0]])
    found = of_rows(table, {"m": "a"}, {"m": "b"})
    assert found == Difference(1.0, 1.0, 1.0, (1.0, 1.0))
    table.append({"m": "a", "seed": 7, "nats": [99.0, 99.0, 99.0]})  # a seed that b lacks
    assert of_rows(table, {"m": "a"}, {"m": "b"}) == found
    with pytest.raises(ValueError, match="no row"):
        of_rows(table, {"m": "c"}, {"m": "b"})
    with pytest.raises(ValueError, match="no seed in common"):
        of_rows([table[0], table[3]], {"m": "a"}, {"m": "b"})


def test_seeds_that_undo_each_other_leave_no_word():
    """Averaged first they would leave no interval at all; another two draws of the seed would not undo each other."""
    wave = np.array([1.0, -1.0] * 10)
    found = of_rows(rows(a=[wave + 1, -wave + 1], b=[0 * wave, 0 * wave]), {"m": "a"}, {"m": "b"})
    assert found.mean == 1.0 and found.low < 0.9 and found.high > 1.1


def test_another_column_of_verdicts():
    table = [{"m": "a", "correct": "1111"}, {"m": "b", "correct": "0101"}]
    assert of_rows(table, {"m": "a"}, {"m": "b"}, column="correct").seeds == (0.5,)


# ------------------------------------------------------------------------------------------------------------- writing


def test_a_change_of_unit_keeps_the_word_and_its_negative_turns_it_round():
    found = Difference(0.1, 0.05, 0.2, (0.1, 0.2))
    assert found.times(100) == Difference(10.0, 5.0, 20.0, (10.0, 20.0))
    assert found.times(-1) == Difference(-0.1, -0.2, -0.05, (-0.1, -0.2)) and found.times(-1).word == "lower"
    assert f"{found.times(100):+.1f}" == "+10.0 [+5.0, +20.0]"


def test_seeds_that_scatter_widen_the_interval():
    """The same mean over problems and seeds; in one table the seeds agree, in the other they do not."""
    base = RNG.normal(0, 1, 64)
    shift = RNG.normal(0, 0.05, 64)
    calm, wild = ([base + shift + 0.5 + s * g for s in (-1, 0, 1)] for g in (0.0, 0.45))
    a, b = (of_rows(rows(a=v, b=[base] * 3), {"m": "a"}, {"m": "b"}) for v in (calm, wild))
    assert a.mean == pytest.approx(b.mean) and a.high - a.low < 0.05
    assert b.low < 0.15 and b.high > 0.85  # two of three draws of seeds are one-sided; problems alone say +-0.01
    assert b.word == "higher" and b.seeds == pytest.approx((a.mean - 0.45, a.mean, a.mean + 0.45))


def test_a_crossed_interval_covers_the_truth():
    """Effects of problems and of seeds, ten seeds, a hundred tables: nominally 95 of the intervals hold the 1."""
    hits = 0
    for _ in range(100):
        effect = 1 + RNG.normal(0, 1, 32) + RNG.normal(0, 0.3, (10, 1)) + RNG.normal(0, 0.5, (10, 32))
        zero = [np.zeros(32)] * 10
        found = of_rows(rows(a=list(effect), b=zero), {"m": "a"}, {"m": "b"})
        hits += found.low < 1 < found.high
    assert 85 <= hits <= 100


def test_pairs_of_other_problems_are_refused():
    with pytest.raises(ValueError, match=r"judge \[2, 3\] problems"):
        of_rows(rows(a=[[1.0, 2.0]] * 2, b=[[1.0, 2.0, 3.0]] * 2), {"m": "a"}, {"m": "b"})


def test_words_of_several_differences_keep_their_order_and_lose_none():
    low, high, none = Difference(-1, -2, -0.5), Difference(1, 0.5, 2), Difference(0, -1, 1)
    found = words({"a": high, "b": none, "c": low, "d": high})
    assert found == "higher (a, d), no difference shown (b), lower (c)"


def test_a_span_holds_the_interval_and_every_seed():
    assert Difference(0.4, 0.1, 0.7).span == (0.1, 0.7)
    assert Difference(0.4, 0.1, 0.7, seeds=(-0.3, 0.5, 0.9)).span == (-0.3, 0.9)


def test_a_row_without_chance_is_paired_with_every_seed_of_the_other():
    sure = {"m": "sure", "seed": None, "nats": [1.0, 1.0], "correct": "10"}
    drawn = [{"m": "drawn", "seed": seed, "nats": [2.0 + seed, 2.0 + seed]} for seed in range(3)]
    drawn[0]["correct"] = "11"
    for sign, pair in ((1, ("drawn", "sure")), (-1, ("sure", "drawn"))):
        keys = [{"m": name} for name in pair]
        assert of_rows([sure, *drawn], *keys).seeds == (sign * 1.0, sign * 2.0, sign * 3.0)
        assert of_rows([sure, *drawn], *keys, column="correct").mean == sign * 0.5  # where both have it
    assert of_rows([sure], {"m": "sure"}, {"m": "sure"}).mean == 0.0
    with pytest.raises(ValueError, match="no seed in common"):
        of_rows([sure, *drawn[1:]], {"m": "drawn"}, {"m": "sure"}, column="correct")


def test_a_difference_of_seeds_needs_two_and_pairs_what_both_have():
    rows = [{"k": k, "seed": s, "x": 2.0 * k + 0.1 * s} for k in (0, 1) for s in (0, 1, 2)] + [
        {"k": 1, "seed": 3, "x": 99.0}
    ]
    found = of_seeds(rows, {"k": 1}, {"k": 0}, column="x")
    assert found.seeds == pytest.approx((2.0, 2.0, 2.0)) and found.low == pytest.approx(found.high)
    with pytest.raises(ValueError, match="needs two"):
        of_seeds(rows[:1] + rows[3:4], {"k": 1}, {"k": 0}, column="x")


@pytest.mark.parametrize("n", [3, 17, 128, 500])
@pytest.mark.parametrize("kind", ["digits", "real", "heavy tail"])
def test_the_interval_is_the_percentile_bootstrap_of_scipy(n, kind):
    rng = np.random.default_rng(n)
    a = {"digits": rng.integers(0, 2, n), "real": rng.normal(size=n), "heavy tail": np.exp(3 * rng.normal(size=n))}[
        kind
    ]
    b = rng.integers(0, 2, n) if kind == "digits" else np.zeros(n)
    b[0], a[0], a[1], b[1] = 0, 1, 0, 0  # not all alike
    ci = bootstrap((a - b,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0))
    found = between(a, b)
    assert found.low == pytest.approx(ci.confidence_interval.low, abs=1e-9)
    assert found.high == pytest.approx(ci.confidence_interval.high, abs=1e-9)
