"""Verdicts asked again: the same code with other weights, and the numbers of the first pair as their notebooks say."""

import numpy as np
import pytest

from dlmlab import study
from dlmlab.measure import store
from dlmlab.study import judging, nb09_again, stand_in


def test_another_checkpoint_stands_in_only_while_the_context_is_open():
    own = judging.dense("llada-mini")
    with stand_in.standing_in({"llada-mini": "llada-small"}):
        assert stand_in.called("llada-mini") == "llada-small" and stand_in.called("llama-mini") == "llama-mini"
        assert judging.dense("llada-mini").config.mlp_hidden_size != own.config.mlp_hidden_size
        with stand_in.standing_in({}):
            assert judging.dense("llada-mini").config.mlp_hidden_size == own.config.mlp_hidden_size
        assert judging.dense("llada-mini").config.mlp_hidden_size != own.config.mlp_hidden_size
    assert judging.dense("llada-mini").config.mlp_hidden_size == own.config.mlp_hidden_size


@pytest.mark.parametrize("verdict", nb09_again.VERDICTS, ids=lambda verdict: verdict.name)
def test_a_verdict_has_rows_in_both_pairs_of_the_same_problems_and_draws(verdict):
    first, second = (nb09_again.gaps(store.read("09_again"), pair, verdict) for pair in nb09_again.PAIRS)
    assert first.keys() == second.keys() and len(first) in (1, 3)
    assert {gap.shape for gap in first.values()} == {gap.shape for gap in second.values()}


@pytest.mark.parametrize(
    "name, table, headline",
    [
        ("left to right - surest first, 5 forwards", "01_sampling", "left to right against probability, 5 forwards"),
        ("70 % pruned: preserve - shuffled", "04_sinks", "llada-mini preserve 70 %"),
        ("3 bits, RTN: loss - the twin's loss", "05_methods", "rtn LLaDA's loss - twin's, points, 3 bits"),
        ("early precise - late precise, chance", "05_phases", "early - late, 4-3-2 by steps, chance"),
    ],
)
def test_the_first_effect_is_the_number_that_the_notebook_quotes(name, table, headline):
    (verdict,) = (v for v in nb09_again.VERDICTS if v.name == name)
    found, quoted = nb09_again.effect([], "first", verdict), study.table(table)
    numbers = quoted.headlines(quoted.rows())
    assert found.mean == pytest.approx(numbers[headline])
    assert found.low == pytest.approx(numbers[f"{headline}, low"])
    assert found.word == numbers[f"{headline}, word"]


def test_worlds_without_an_effect_show_one_in_twenty():
    rows = store.read("09_again")
    asked = nb09_again.shown(nb09_again.report(rows))[:4]
    found = nb09_again.null_worlds(rows, asked, worlds=400)
    assert found.shape == (400, len(asked)) and set(np.unique(found)) <= {-1.0, 0.0, 1.0}
    assert 0.02 < (found != 0).mean() < 0.08


def test_what_was_chosen_for_being_large_is_smaller_the_second_time():
    shares = []
    for spread in (0.5, 8.0):
        first, second = nb09_again.journal(effects=20_000, spread=spread)
        assert min(map(abs, first)) > 1.96
        shares.append(np.dot(first, second) / np.dot(first, first))
    assert shares[0] < 0.4 and shares[1] > 0.95
