"""Twelve claims with their sources, and readers who go by a rule and have no skill."""

import pytest

from dlmlab.measure.forecast import skill
from dlmlab.study.labs import lab21_claims as lab


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


def test_a_guess_is_complete_and_a_probability():
    assert lab.guesses({}) is None and lab.guesses(dict.fromkeys(range(1, 12), 0.5)) is None
    assert lab.guesses({n: n / 12 for n in range(1, 13)})[11] == 1.0
    with pytest.raises(ValueError, match="no probability"):
        lab.guesses(dict.fromkeys(range(1, 13), 60))
