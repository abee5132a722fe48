"""The tables of notebook 08: compared with one token per forward, over every layer, age and kind."""

import dlmlab as dl
from dlmlab.decode import drift


def test_the_front_is_compared_with_one_token_per_forward():
    rows = dl.nb08_caches.summarize(dl.store.read("08_front"))
    by_name = {(r["family"], r["setting"]): r for r in rows}
    base = by_name[dl.nb08_caches.BASELINE]["difference"]
    assert base.mean == 0 and base.low == -base.high < 0  # not [0, 0]: other problems may differ
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


def test_freezing_committed_tokens_is_compared_with_the_dual_cache_on_all_problems():
    """In blocks of 8, too: a hundred problems do not show the loss, and one token per forward is no opponent."""
    whole = dl.bench.read()["decode"]["accuracy"]
    for name in ("delayed cache", "FOCUS"):
        frozen, dual = (whole[f"the same, {kind}"]["correct"] for kind in (name, "dual cache"))
        assert dl.difference.between(frozen, dual).word == "lower"


def test_a_blind_schedule_of_the_front_may_stop_and_have_a_cache_too():
    rows = {(r["family"], r["setting"]): r for r in dl.store.read("08_front")}
    stops = rows["left to right, stop at end", "6 forwards"]
    assert stops["nfe"] < rows["left to right", "5 forwards"]["nfe"]
    assert rows["left to right, stop at end, dual cache", "6 forwards"]["tokens"] < stops["tokens"]
