"""Verdicts asked again: the same code with other weights, and the numbers of the first pair as their notebooks say."""

import pytest

from dlmlab import study
from dlmlab.measure import store
from dlmlab.study import judging, nb02_estimators, nb04_sinks, nb09_again, stand_in


def test_another_checkpoint_stands_in_only_while_the_context_is_open():
    own = judging.dense("llada-mini")
    with stand_in.standing_in({"llada-mini": "llada-small"}):
        assert stand_in.called("llada-mini") == "llada-small" and stand_in.called("llama-mini") == "llama-mini"
        assert judging.dense("llada-mini").config.mlp_hidden_size != own.config.mlp_hidden_size
        with stand_in.standing_in({}):
            assert judging.dense("llada-mini").config.mlp_hidden_size == own.config.mlp_hidden_size
        assert judging.dense("llada-mini").config.mlp_hidden_size != own.config.mlp_hidden_size
    assert judging.dense("llada-mini").config.mlp_hidden_size == own.config.mlp_hidden_size


@pytest.mark.parametrize("module, run", [(nb02_estimators, "run"), (nb04_sinks, "run_released")])
def test_a_table_of_the_experiment_asks_the_checkpoint_that_stands_in(module, run, monkeypatch):
    def loaded(name):
        raise LookupError(name)

    monkeypatch.setattr(stand_in.checkpoint, "load", loaded)
    with stand_in.standing_in(nb09_again.SECOND), pytest.raises(LookupError, match="llada-mini-b"):
        getattr(module, run)("question", 0, 1)


@pytest.mark.parametrize("verdict", (*nb09_again.VERDICTS, *nb09_again.LATER), ids=lambda verdict: verdict.name)
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


def test_what_was_added_later_is_quoted_and_not_counted():
    rows = store.read("09_again")
    found = nb09_again.headlines(rows)
    words = [value for name, value in found.items() if name.startswith("count, ")]
    assert sum(words) == found["verdicts"] == len(nb09_again.VERDICTS)
    for verdict in nb09_again.LATER:
        first, second, change = (found[f"03: {verdict.name}, {part}"] for part in ("first", "second", "change"))
        assert change == pytest.approx(second - first)
