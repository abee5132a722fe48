"""The tables of notebook 08: compared with one token per forward, over every layer, age and kind."""

import pytest

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
    words = {}
    for name in ("delayed cache", "FOCUS"):
        frozen, dual = (whole[f"the same, {kind}"]["correct"] for kind in (name, "dual cache"))
        words[name] = dl.difference.between(frozen, dual).word
    assert words == {"delayed cache": "lower", "FOCUS": "no difference shown"}  # five verdicts of 500, all against it


def test_a_blind_schedule_of_the_front_may_stop_and_have_a_cache_too():
    rows = {(r["family"], r["setting"]): r for r in dl.store.read("08_front")}
    stops = rows["left to right, stop at end", "6 forwards"]
    assert stops["nfe"] < rows["left to right", "5 forwards"]["nfe"]
    assert rows["left to right, stop at end, dual cache", "6 forwards"]["tokens"] < stops["tokens"]


def test_depths_counted_from_the_base_rule_are_those_of_the_real_run():
    """At the depth that was run, forwards and rows agree; and the real run kept every text of its base rule."""
    spec = dl.nb08_speculation
    rows = [r for r in spec.SPECULATION.rows() if "kept" in r]
    assert {r["way"] for r in rows} == {f"{spec.ONE_BY_ONE}, {name}" for name in spec.BASES.values()}
    assert {r["problems"] for r in rows} == set(spec.PROBLEMS)
    for row in rows:
        assert set(row["kept"]) == {"1"} and "0" not in row["ordered"]
        assert row["nfe"] == pytest.approx(row[f"nfe {spec.DEPTH}"])
        assert row["rows"] == pytest.approx(row[f"rows {spec.DEPTH}"])
        deeper = [row[f"nfe {depth}"] for depth in spec.DEPTHS]
        assert deeper == sorted(deeper, reverse=True)
        assert row["nfe 1"] == row["rows 1"] >= 40


def test_a_replay_counts_forwards_rows_and_refusals_by_hand():
    """Six places; the guesses after the first commit swap the fourth and the fifth, then the last token is another."""
    commits = [(c, 7) for c in (0, 1, 2, 4, 3, 5)]
    swapped, wrong = [(c, 7) for c in range(6)], [(4, 7), (3, 7), (5, 8)]
    drafts = [swapped, swapped[1:], swapped[2:], wrong, wrong[1:], [(5, 7)]]
    replay = dl.nb08_speculation.replay
    assert replay(drafts, commits, 1) == {"nfe": 6, "rows": 6, "order": 0, "token": 0}
    assert replay(drafts, commits, 2) == {"nfe": 4, "rows": 7, "order": 1, "token": 0}
    assert replay(drafts, commits, 6) == {"nfe": 3, "rows": 8, "order": 1, "token": 0}


def test_a_hidden_number_is_one_mask_in_the_question_and_another_one_for_each_seed():
    spec = dl.nb08_speculation
    mask_id = dl.load("llada-mini")[1].mask_token_id
    sets = [spec.prompts(f"hidden number {seed}", 6) for seed in spec.SEEDS]
    assert all(ids.count(mask_id) == 1 for rows in sets for ids in rows)
    assert sets[0] != sets[1] != sets[2]
    assert [len(ids) for ids in sets[0]] == [len(ids) for ids in spec.prompts("test", 6)]
