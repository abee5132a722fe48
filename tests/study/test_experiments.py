"""Stored tables: what they hold is what the settings say, and a summary does not make problems out of seeds."""

import pytest
import torch

import dlmlab as dl
from dlmlab.decode import drift
from dlmlab.measure import store
from dlmlab.measure.difference import Difference
from dlmlab.measure.evaluate import Proportion
from dlmlab.task import tasks


def test_the_stored_table_holds_every_setting_once():
    rows = dl.store.read("01_sampling")
    stored = sorted((r["method"], r["sampler"], r["seed"]) for r in rows)
    wanted = [
        (s.method, repr(s.sampler.commit), seed) for s in dl.nb01_sampling.sampling_settings() for seed in s.seeds
    ]
    assert stored == sorted(wanted)
    assert {len(r["correct"]) for r in rows} == {dl.nb01_sampling.PROBLEMS}


def test_three_seeds_of_the_same_problems_do_not_shrink_the_interval():
    row = {"method": "m", "sampler": "s", "nfe": 4.0, "gflop": 1.0, "correct": "1100" * 25}
    (one,) = dl.nb01_sampling.summarize([row | {"seed": 0}])
    (three,) = dl.nb01_sampling.summarize([row | {"seed": seed} for seed in range(3)])
    assert (one["low"], one["high"]) == (three["low"], three["high"]) == Proportion(50, 100).interval
    assert three["seeds"] == 3 and three["spread"] == 0


@pytest.mark.parametrize(
    "measure, fill_of",
    [("necessity", dl.nb03_sinks), ("samples", dl.nb02_objective), ("bottles", dl.nb03_growth)]
    + [("front", dl.nb08_caches), ("sampling_frontier", dl.nb01_sampling)],
)
def test_no_row_of_a_finished_table_is_asked_for_again(monkeypatch, measure, fill_of):
    def check(path, jobs, say):
        keys = [key for key, _ in jobs]
        assert keys and all(len(store.select(store.read(path), **key)) == 1 for key in keys)

    monkeypatch.setattr(store, "fill", check)
    getattr(fill_of, measure)()


def test_the_spread_is_between_seeds():
    rows = [
        {"method": "m", "sampler": "s", "nfe": 4.0, "gflop": 1.0, "seed": i, "correct": c}
        for i, c in enumerate(("1100", "1110"))
    ]
    (summary,) = dl.nb01_sampling.summarize(rows)
    assert summary["spread"] == 0.25 and summary["exact_match"] == 0.625


def test_agreement_counts_problem_by_problem():
    assert dl.store.agreement({"correct": "110011"}, {"correct": "111"}) == pytest.approx(2 / 3)


def test_a_setting_that_is_stored_is_not_run_again(tmp_path, monkeypatch):
    ran = []

    def run(setting, problems, seed):
        ran.append((setting.method, seed))
        return {"nfe": 1.0, "gflop": 1.0, "correct": "1"}

    monkeypatch.setattr(dl.nb01_sampling, "run", run)
    monkeypatch.setattr(tasks, "load_split", lambda split: [None])
    for _ in range(2):
        dl.nb01_sampling.sampling_frontier(say=lambda line: None, path=tmp_path / "table.json")
    assert len(ran) == sum(len(s.seeds) for s in dl.nb01_sampling.sampling_settings())


def test_the_front_holds_every_method_once_on_the_same_problems():
    caches = dl.nb08_caches
    rows = dl.store.read("08_front")
    assert sorted((r["family"], r["setting"]) for r in rows) == sorted((m.family, m.setting) for m in caches.methods())
    assert {len(r["correct"]) for r in rows} == {caches.PROBLEMS}
    by_name = {(r["family"], r["setting"]): r for r in caches.summarize(rows)}
    assert by_name[caches.BASELINE]["difference"] == Difference(0.0, 0.0, 0.0)
    assert all(r["low"] <= r["exact_match"] <= r["high"] for r in by_name.values())


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


# ------------------------------------------------------------------------------------------------ notebook 04

pruning = dl.nb04_pruning


def wanted_rows() -> dict[str, list[dict]]:
    """What the tables of notebook 04 must hold, by name."""
    seeds = [{"seed": s} for s in pruning.SEEDS]
    ablation = [
        dict(zip(("method", "mode", "weight", "sequential"), cell, strict=True)) for cell in dl.nb04_sinks.ABLATION
    ]
    models = ("llada-mini", "llama-mini")
    return {
        "04_sparsity": [{"curve": "dense", "sparsity": 0.0}]
        + [{"curve": c.name, "sparsity": s} for c in dl.nb04_sparsity.CURVES for s in c.sparsities],
        "04_sinks": [cell | s for cell in ablation for s in seeds],
        "04_released": [{"name": n} | s for n in dl.nb04_sinks.RELEASED for s in seeds],
        "04_blocks": [{"block": b} | s for b in (None, dl.nb04_blocks.PUBLISHED_BLOCK) for s in seeds],
        "04_calibration": [{"mode": m, "region": r} | s for m, r in dl.nb04_texts.CALIBRATIONS for s in seeds],
        "04_schedules": [
            {"model": m, "schedule": k} | s for m in models for k in dl.nb04_schedules.SCHEDULES for s in seeds
        ],
        "04_timesteps": [{"kind": k} | s for k in ("agreement", *dl.nb04_levels.ADAPTIVE) for s in seeds],
        "04_structured": [{"units": u, "method": m, "share": round(s, 4)} for u, m, s in dl.nb04_structure.STRUCTURED],
        "04_recovery": [
            {"kind": k, "steps": n} for k in dl.nb04_recovery.RECOVERED for n in (0, dl.nb04_recovery.RECOVERY_STEPS)
        ],
    }


@pytest.mark.parametrize("name, keys", wanted_rows().items())
def test_a_table_of_notebook_04_holds_settings_once_and_over_the_same_problems(name, keys):
    rows = dl.store.read(name)
    found = [sum(all(row.get(k) == v for k, v in key.items()) for key in keys) for row in rows]
    alone = [row for row, n in zip(rows, found, strict=True) if n == 0]
    assert all(row.get("units") in ("dense", "layer") for row in alone), alone  # no setting that the code does not make
    assert all(len(store.select(rows, **key)) == 1 for key in keys if store.measured(rows, **key))
    assert len({len(row["nats"]) for row in rows if "nats" in row}) <= 1


def test_a_difference_is_paired_over_problems_and_seeds():
    rows = [
        {"m": m, "seed": s, "nats": [base + s + (m == "a") for base in (1.0, 9.0, 4.0)]} for m in "ab" for s in (0, 1)
    ]
    found = pruning.compare(rows, {"m": "a"}, {"m": "b"})
    assert found == {"mean": 1.0, "low": 1.0, "high": 1.0, "seeds": [1.0, 1.0]}
    assert pruning.verdict(found) == "higher"
    assert pruning.verdict(found | {"seeds": [1.0, -0.1]}) == "no difference shown"
    assert pruning.verdict(found | {"low": -0.1}) == "no difference shown"
    rows.append({"m": "a", "seed": 7, "nats": [99.0, 99.0, 99.0]})  # a seed that b lacks
    assert pruning.compare(rows, {"m": "a"}, {"m": "b"}) == found
    with pytest.raises(ValueError, match="no row"):
        pruning.compare(rows, {"m": "c"}, {"m": "b"})


def test_what_is_stored_is_not_measured_again_and_a_stop_loses_nothing(tmp_path):
    path, ran = tmp_path / "t.json", []

    def measure(i: int) -> dict:
        ran.append(i)
        if len(ran) == 3:
            raise RuntimeError("stopped")
        return {"value": i}

    def jobs():
        return (({"i": i}, lambda i=i: measure(i)) for i in range(3))

    with pytest.raises(RuntimeError, match="stopped"):
        store.fill(path, jobs(), lambda line: None)
    assert [row["i"] for row in dl.store.read(path)] == [0, 1]
    store.fill(path, jobs(), lambda line: None)
    assert ran == [0, 1, 2, 2] and len(dl.store.read(path)) == 3


def test_every_stored_table_names_the_function_that_makes_it():
    assert {path.stem for path in dl.store.RESULTS.glob("*.json")} <= set(dl.study.EXPERIMENTS)
    assert all(callable(dl.study.experiment(name)) for name in dl.study.EXPERIMENTS)
    with pytest.raises(ValueError, match="'05_none'.*01_sampling"):
        dl.study.experiment("05_none")


@torch.no_grad()
def test_the_exact_nats_of_the_twin_are_those_of_its_answer_up_to_one_end_mark():
    """Hypothesis H5 stands on them: token by token, from the first of the answer to the first end mark."""
    twin, tokenizer = dl.load("llama-mini")
    for problem, nats in zip(tasks.load_split("test"), dl.nb04_pruning.answer_bound(twin, problems=2), strict=False):
        ids = dl.layout.encode_prompt(tokenizer, problem.question)
        answer = [*dl.layout.encode_solution(tokenizer, problem), tokenizer.eos_token_id]
        log_p = 0.0
        for token in answer:
            log_p += float(twin(torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token])
            ids.append(token)
        assert nats == pytest.approx(-log_p, abs=2e-3)
