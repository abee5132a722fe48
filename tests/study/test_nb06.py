"""What the tables of notebook 06 are made of, without their stored numbers: tables of rows made up here."""

import numpy as np
import pytest

from dlmlab.compress.joint import search
from dlmlab.compress.joint.latency import Latency
from dlmlab.measure import store
from dlmlab.study import (
    nb06_additivity,
    nb06_enumerated,
    nb06_front,
    nb06_latency,
    nb06_options,
    nb06_orders,
    nb06_search,
    nb06_spq,
    nb06_trials,
)
from dlmlab.study.finalists import ASKED, BUDGETS, NAMES, SEEDS
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def option_rows() -> list[dict]:
    """A table in which block p under option o costs p + o / 10 nats and 100 (10 - o) bytes."""
    rows = []
    for key in nb06_options.settings():
        o = NAMES.index(key["option"]) if key["option"] in NAMES else 0
        p = int(key["place"].split(".")[1]) if "." in key["place"] else 0
        loss = 1.0 if key["place"] == "model" else 1.0 + p + o / 10
        rows.append(key | {"nats": [loss] * ASKED, "bytes": 100 * (10 - o)})
    return rows


def test_the_table_of_a_search_is_read_by_place_and_option():
    nats, sizes = nb06_options.table(option_rows(), 1)
    assert np.allclose(nats, [[p + o / 10 for o in range(10)] for p in range(6)])
    assert sizes[0] == [100 * (10 - o) for o in range(10)] and len(sizes) == 6


def test_the_most_sensitive_block_is_named():
    found = nb06_options.headlines(option_rows())
    assert (found["least sensitive"], found["most sensitive"]) == ("blocks.0", "blocks.5")
    assert found["no repair 3 bits, no repair"] == pytest.approx(-0.05, abs=0.06)
    assert set(nb06_options.sensitivity(option_rows())) >= {"q_proj", "ff_out"}


def trial_rows() -> list[dict]:
    rows = []
    for key in nb06_trials.settings():
        choices = [[NAMES[(i + layer) % 10] for layer in range(6)] for i in range(nb06_trials.TRIALS)]
        losses = [float(i) for i in range(nb06_trials.TRIALS)]
        rows.append(
            key | {"choices": choices, "losses": losses, "sizes": [2_000_000 - 20_000 * loss for loss in losses]}
        )
    return rows


def test_a_search_picks_the_best_that_fits(monkeypatch):
    monkeypatch.setattr(store, "read", {"06_trials": trial_rows(), "06_options": option_rows()}.__getitem__)
    rows = trial_rows()[0]
    for method in ("Optuna", "random"):
        at = rows["choices"].index(nb06_search.pick(method, BUDGETS[0], 0), 30)
        assert rows["sizes"][at] <= BUDGETS[0] < rows["sizes"][at - 1]
    assert nb06_search.pick("knapsack", BUDGETS[0], 0) == ["4 bits"] * 6 == nb06_search.pick("greedy", BUDGETS[1], 2)
    assert nb06_search.pick("uniform", BUDGETS[2], 0) == ["3 bits"] * 6


def test_trials_begin_alike_whatever_their_losses_are():
    for method in nb06_trials.METHODS:
        few, fewer = (nb06_trials.run(method, 0, size=n)["choices"] for n in (6, 3))
        assert few[:3] == fewer and nb06_trials.run(method, 1, size=3)["choices"] != fewer


def enumerated_rows(hurt: float) -> list[dict]:
    """Losses that add up, and `hurt` more for two changed neighbours; two bits save most."""
    rows, cost, size = [], (0.0, 2.0, 1.0), (102_400, 10_240, 61_440)
    for key in nb06_enumerated.settings():
        losses, sizes = [], []
        for rest in search.every_choice([3] * 4):
            choice = (key["first"], key["second"], *rest)
            beside = sum(a != 0 != b for a, b in zip(choice, choice[1:], strict=False))
            losses.append(sum(cost[o] * (1 + p / 10) for p, o in enumerate(choice)) + hurt * beside)
            sizes.append(sum(size[o] for o in choice))
        rows.append(key | {"losses": losses, "sizes": sizes})
    return rows


def test_where_losses_add_up_the_knapsack_has_no_gap_and_chance_has_one():
    found = nb06_enumerated.gaps(enumerated_rows(0.0))
    mean = {m: np.mean([r["gap"] for r in found if r["method"] == m]) for m in ("knapsack", "greedy", "random")}
    assert mean["knapsack"] == pytest.approx(0, abs=1e-9) and mean["random"] > 0.1
    models = nb06_enumerated.space(enumerated_rows(0.0))
    assert len(models) == 729 and len(nb06_enumerated.budgets(models)) == 3
    assert sum(r["method"] == "Optuna" for r in found) == 3 * nb06_enumerated.OPTUNA_SEEDS


def test_losses_that_do_not_add_up_leave_the_knapsack_a_gap():
    found = nb06_enumerated.gaps(enumerated_rows(0.8))
    assert max(r["gap"] for r in found if r["method"] == "knapsack") > 0
    assert min(r["gap"] for r in found) >= -1e-9


def test_searches_that_know_the_bytes_ask_only_what_fits_and_gain_by_asking_more():
    models = nb06_enumerated.space(enumerated_rows(0.0))
    budget = nb06_enumerated.budgets(models)[0]
    fits = [loss for loss, size in models.values() if size <= budget]
    for ask in nb06_enumerated.INFORMED.values():
        few, more, all_ = (ask(models, budget, count, 3) for count in (3, 30, len(models)))
        assert few in fits and more <= few and all_ == min(fits)
    uniform = [models[(o,) * 6][0] for o in range(3) if models[(o,) * 6][1] <= budget]
    assert nb06_enumerated.climb(models, budget, 1, 0) == min(uniform)
    assert set(nb06_enumerated.informed(models)) >= {("from uniform", 30, budget), ("chance that fits", 13, budget)}


def test_sums_of_the_enumerated_models_are_compared_by_their_blocks_at_two_bits():
    add = nb06_enumerated.added(nb06_enumerated.space(enumerated_rows(0.0)))
    assert (add.spearman, add.slope) == pytest.approx((1, 1))
    hurt = nb06_enumerated.space(enumerated_rows(0.8))
    assert nb06_enumerated.added(hurt).slope > 1 and nb06_enumerated.added(hurt, low=4).r2 < 1


def test_models_without_neurons_and_repaired_masks_have_their_settings():
    methods = {row["method"] for row in nb06_orders.settings()}
    assert methods == {*nb06_orders.ARMS, *nb06_orders.NEURONS, *nb06_orders.REPAIRED}
    for choice in nb06_orders.NEURONS.values():
        assert len(choice) == 6 and all(option.units == "neurons" and not option.sparsity for option in choice)


def test_sums_are_compared_as_changes_against_the_dense_model(monkeypatch):
    monkeypatch.setattr(store, "read", {"06_options": option_rows()}.__getitem__)
    rows = [k | {"proxy": float(i), "nats": [1.0 + 2 * i] * ASKED} for i, k in enumerate(nb06_additivity.settings())]
    found = nb06_additivity.report(rows)["all"]
    assert (found.spearman, found.slope, found.r2_line) == (1, 2, 1) and found.r2 < 1


def latency_rows() -> list[dict]:
    rows = []
    for key in nb06_latency.settings():
        shapes = nb06_latency.shapes_of(**key)
        ms = sum(heads + neurons / 100 for heads, neurons in shapes) + (3 if key["kind"] == "model" else 0)
        rows.append(key | {"ms": ms, "share": 1.5, "machine": {}})
    return rows


def test_a_table_of_blocks_predicts_what_was_added_up():
    rows = latency_rows()
    assert all(guess == pytest.approx(ms) for guess, ms in nb06_latency.predicted(rows))
    found = nb06_latency.headlines(rows)
    assert found["worst error of a sum"] == pytest.approx(0) and found["out of order"] == "none"
    assert {len(shapes) for shapes in nb06_latency.mixed()} == {3, 4, 5, 6}


def test_stages_of_spq_are_points_of_the_dense_bytes():
    size = {"dense": 1000, "S": 990, "S+P": 970, "S+P+Q": 300, "Q": 310, "S at 90 %": 900}
    rows = [key | {"bytes": size.get(key["method"], 1)} for key in nb06_spq.settings()]
    found = nb06_spq.contributions(rows)
    assert (found["S"], found["P"], found["Q"], found["Q alone"]) == pytest.approx((1, 2, 67, 69))


def test_fine_tuning_keeps_ranks_and_neurons(monkeypatch):
    monkeypatch.setattr(nb06_spq, "STEPS", 1)
    before, after = nb06_spq.stages(0)["S+P"], nb06_spq.made("S+P+Q, fine-tuned", 0)
    assert after.removed == before.removed and after.bytes == nb06_spq.stages(0)["S+P+Q"].bytes


def test_the_front_gathers_every_table_under_common_names(monkeypatch):
    row = {"method": "a", "seed": 0, "bytes": 1000, "nfe": 2.0, "correct": "10", "shapes": [[6, 512]]}
    front = row | {"model": "llama-mini", "method": "2 bits", "decoding": "left to right"}
    tables = {"06_search": [row], "06_orders": [row], "06_spq": [row], "06_front": [front]}
    monkeypatch.setattr(store, "read", tables.__getitem__)
    rows = nb06_front.everything()
    assert [r["family"] for r in rows] == ["search", "order", "SPQ", "2 bits"]
    assert [r["model"] for r in rows] == ["llada-mini"] * 3 + ["llama-mini"]
    assert rows[0]["decoding"] == "threshold 0.9" and rows[3]["decoding"] == "left to right"


def test_a_faster_row_is_on_the_front_and_exchanging_objectives_changes_no_volume():
    times = Latency(16, 80, 0.0, {(6, 512): 8.0}, {})
    base = {"bytes": 1_000_000, "correct": "1110", "shapes": [[6, 512]] * 6}
    rows = [base | {"nfe": 3.0}, base | {"nfe": 2.0}, base | {"nfe": 1.0, "correct": "1010"}]
    assert nb06_front.front_of(rows, times) == rows[1:]
    assert nb06_front.objectives(rows[0], times) == (0.25, 1_000_000, 9.0)
    assert 0 < nb06_front.volume(rows[:1], times, 20.0) < nb06_front.volume(rows, times, 20.0) < 1


def test_every_table_lists_each_setting_once():
    tables = (
        nb06_options,
        nb06_trials,
        nb06_search,
        nb06_additivity,
        nb06_enumerated,
        nb06_orders,
        nb06_latency,
        nb06_spq,
        nb06_front,
    )
    for module in tables:
        keys = [tuple(key.items()) for key in module.settings()]
        assert len(set(keys)) == len(keys) and all(key in module.settings() for key in module.TABLE.live)
    assert len(nb06_search.settings()) == 3 * len(BUDGETS) * len(nb06_search.METHODS) and len(SEEDS) == 3
