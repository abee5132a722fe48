"""Stored tables: what they hold is what the settings say, and a summary does not make problems out of seeds."""

import pytest

import dlmlab as dl
from dlmlab.decode import drift
from dlmlab.measure.evaluate import Proportion, paired_difference


def test_three_seeds_of_the_same_problems_do_not_shrink_the_interval():
    row = {"method": "m", "sampler": "s", "nfe": 4.0, "gflop": 1.0, "correct": "1100" * 25}
    (one,) = dl.nb01_sampling.summarize([row | {"seed": 0}])
    (three,) = dl.nb01_sampling.summarize([row | {"seed": seed} for seed in range(3)])
    assert (one["low"], one["high"]) == (three["low"], three["high"]) == Proportion(50, 100).interval
    assert three["seeds"] == 3 and three["spread"] == 0


def test_the_spread_is_between_seeds():
    rows = [
        {"method": "m", "sampler": "s", "nfe": 4.0, "gflop": 1.0, "seed": i, "correct": c}
        for i, c in enumerate(("1100", "1110"))
    ]
    (summary,) = dl.nb01_sampling.summarize(rows)
    assert summary["spread"] == 0.25 and summary["exact_match"] == 0.625


def test_a_paired_difference_is_zero_only_when_nothing_differs():
    assert paired_difference([True, False], [True, False]) == (0.0, 0.0, 0.0)
    mean, low, high = paired_difference([True] * 30 + [False] * 70, [False] * 100)
    assert mean == pytest.approx(0.3) and 0.2 < low < mean < high < 0.4
    with pytest.raises(ValueError, match="equally long"):
        paired_difference([True], [True, False])


def test_the_front_is_compared_with_one_token_per_forward():
    rows = dl.nb08_caches.summarize(dl.store.read("08_front"))
    by_name = {(r["family"], r["setting"]): r for r in rows}
    assert by_name[dl.nb08_caches.BASELINE]["difference"] == (0.0, 0.0, 0.0)
    assert all(r["low"] <= r["exact_match"] <= r["high"] for r in rows)


def test_a_cache_never_costs_more_than_no_cache_under_the_same_rule():
    rows = {(r["family"], r["setting"]): r for r in dl.store.read("08_front")}
    blocks = f"blocks of {dl.nb08_caches.BLOCK}"
    for rule in ("threshold", "20 forwards"):
        plain = rows[f"{rule}, no cache", blocks]
        for name in list(dl.nb08_caches.caches())[1:]:
            assert rows[f"{rule}, {name}", blocks]["tokens"] < plain["tokens"]


def test_the_drift_table_covers_layers_ages_and_kinds():
    rows = dl.store.read("08_drift")
    assert {r["layer"] for r in rows} == set(range(6)) and {r["kind"] for r in rows} == set(drift.KINDS)
    assert all(abs(r["key"]) < 1e-5 for r in rows if r["layer"] == 0 and r["kind"] != "committed meanwhile")
