"""Twelve claims with their sources, numbers beside them that are read and not typed, readers without skill."""

import numpy as np
import pytest

from dlmlab.measure.difference import Difference
from dlmlab.measure.forecast import skill
from dlmlab.study import TABLES
from dlmlab.study.labs import lab21_claims as lab
from dlmlab.study.labs import lab21_measured as measured
from dlmlab.study.labs import lab21_own as own


def test_the_claims_are_twelve_and_guessing_one_way_does_not_win():
    assert [claim.number for claim in lab.CLAIMS] == list(range(1, 13))
    assert 4 <= sum(lab.HAPPENED) <= 8
    for name in ("all of it is wrong", "all of it is right", "a coin"):
        assert skill(lab.readers()[name], lab.HAPPENED) < 0


@pytest.mark.parametrize("claim", lab.CLAIMS, ids=lambda claim: claim.name)
def test_a_claim_says_where_to_look_and_what_was_read(claim):
    assert claim.says in ("just so", "in part", "nowhere") and claim.read and claim.text.endswith(".")
    assert claim.arxiv or claim.says == "nowhere"
    assert set(claim.flaws) <= set(lab.QUESTIONS) and claim.flaws
    assert ("source" in claim.flaws) == (claim.says != "just so"), "a source that says it just so has no mark there"
    assert measured.EVIDENCE[claim.number], "every claim has something of ours beside it"


def test_a_guess_is_complete_and_a_probability():
    assert lab.guesses({}) is None and lab.guesses(dict.fromkeys(range(1, 12), 0.5)) is None
    assert lab.guesses({n: n / 12 for n in range(1, 13)})[11] == 1.0
    with pytest.raises(ValueError, match="no probability"):
        lab.guesses(dict.fromkeys(range(1, 13), 60))


def test_a_quoted_difference_has_the_word_of_its_table():
    d = measured.quoted("01_sampling", measured.STOPPED)
    assert d.low < d.mean < d.high < 0 and d.word == "lower"
    assert measured.of(Difference(-0.4, -0.7, -0.1, seeds=(-0.9, 0.1))).word == "no difference shown"
    with pytest.raises(KeyError, match="01_sampling has no 'nonsense'"):
        measured.number("01_sampling", "nonsense")


def test_all_evidence_is_found_in_the_tables():
    for lines in measured.EVIDENCE.values():
        for what, unit, read in lines:
            d = read()
            assert d.low <= d.mean <= d.high and unit in ("points", "nats", "forwards"), what


def test_a_ratio_of_exact_multiples_is_sure_and_seeds_widen_it():
    a = np.random.default_rng(0).integers(1, 9, 300).astype(float)
    assert measured.ratio(3 * a, a) == pytest.approx((3, 3, 3))
    value, low, high = measured.ratio(np.stack([2 * a, 3 * a, 4 * a]), a)
    assert value == pytest.approx(3) and low < 2.5 and high > 3.5
    with pytest.raises(ValueError, match="as many problems"):
        measured.ratio([1.0, 2.0], [1.0])


def test_a_factor_from_the_published_baseline_is_larger_than_from_a_fair_one():
    factors = measured.factors([3.0, 4.0] * 20)
    assert [f.claim for f in factors] == [1, 3, 9, 11]
    for f in factors:
        assert f.fair[0] < f.theirs[0] and f.fair[1] <= f.fair[0] <= f.fair[2]


def test_what_fell_here_is_told_from_the_tables_with_the_question_that_did_it():
    assert "01_sampling" in TABLES and len(own.lines()) == len(own.FALLEN) >= 5
    assert {f.question for f in own.FALLEN} <= set(lab.QUESTIONS)
    assert all(all(line.values()) for line in own.lines())
