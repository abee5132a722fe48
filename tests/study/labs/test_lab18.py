"""What the tables of lab 18 measure, without a clock."""

import torch

from dlmlab.study.labs import lab18_files as files
from dlmlab.study.labs import lab18_linear as linear
from dlmlab.study.labs import lab18_rows as swept
from dlmlab.study.labs import lab18_runtimes as runtimes
from tests.tiny import one_thread  # noqa: F401 (a fixture)


def test_one_thing_is_changed_at_a_time_or_on_the_small_matrix():
    names = [swept.name_of(row) for row in swept.settings() if row["what"] == "rows"]
    assert names[0] == swept.LARGE and len(set(names)) == len(names)
    assert swept.weights(swept.MINI).shape == (512, 192)


def test_a_sweep_measures_every_way_at_every_number_of_rows(monkeypatch):
    monkeypatch.setitem(swept.ROUNDS, swept.MINI, 2)
    monkeypatch.setattr(swept, "ENOUGH", 1e-5)
    found = swept.rows(swept.MINI, 1, 32, 1)
    for by in found["ratio"].values():
        assert list(by) == [str(m) for m in swept.ROWS[swept.MINI]] and all(v[0] > 0 for v in by.values())
    assert set(found["ratio bf16"]) == set(found["ratio"]) - {"bfloat16"}


def test_where_a_way_falls_behind():
    by = {"1": [3.0, 2.9, 3.1], "4": [1.2, 1.1, 1.3], "16": [0.9, 0.8, 1.0], "64": [0.8, 0.7, 0.9]}
    row = {"ratio": {"int4 weights": by}}
    assert swept.between(row) == (4, 64) and 4 < swept.crossed(row) < 16
    for value, both, at in ((0.9, (0, 1), 1), (1.1, (1, 0), 1)):
        one = {"ratio": {"int4 weights": {"1": [value] * 3}}}
        assert swept.between(one) == both and swept.crossed(one) == at
    mixed = {"ratio": {"int4 weights": {"1": [1.0, 0.9, 1.1], "2": [2.0] * 3, "4": [0.5, 0.4, 1.2]}}}
    assert swept.between(mixed) == (0, 0)


def test_a_forecast_by_a_curve_is_that_by_peaks_where_the_curve_is_flat():
    by = {name: [1.0] * 3 for name in swept.WAYS} | {"int4 weights": [0.5] * 3}
    ratio = {name: dict.fromkeys(("1", "4", "16", "64", "256"), three) for name, three in by.items()}
    held = {"float32": 4 * 4096**2, "bfloat16": 2 * 4096**2, "int8 weights": 4096**2, "int4 weights": 4096**2 // 2}
    rows = [{"what": "rows"} | swept.BASE | {"matrix": m} for m in (swept.LARGE, swept.MIDDLE)]
    rows = [row | {"ratio": ratio, "bytes": held, "reached": dict.fromkeys(ratio["bfloat16"], 1e12)} for row in rows]
    speed = dict.fromkeys(held, 1e12) | {"int4 weights": 5e11}
    wide = {str(swept.AS_LARGE): 1e11, str(swept.BEYOND): 5e10}
    table = [*rows, {"what": "peaks", "threads": 1, "bandwidth": wide, "operations": speed}]
    for array, (by_max, by_sum) in {swept.AS_LARGE: (10, 17.5), swept.BEYOND: (20, 35)}.items():
        assert swept.foreseen(table, array=array) == (by_max, by_sum)
        for found, wanted in zip(swept.by_curve(table, array=array), (by_max, by_sum), strict=True):
            assert wanted / 1.5 < found < 1.5 * wanted  # it draws a line between numbers of rows four times apart


def test_the_control_says_something_else_and_the_file_in_float32_the_same():
    with files.opened("ours", "F32") as (denoise, found):
        same = files.compared(denoise, 3)
    with files.opened("ours", "F32", files.RAW) as (denoise, _):
        other = files.compared(denoise, 3)
    assert same["alike"] == same["places"] and max(same["kl"]) < 1e-6 and found["kinds"] == {"F32": 57}
    assert other["alike"] < other["places"] and max(other["kl"]) > 0.1


def test_torch_rounds_inputs_to_seven_bits_unless_it_is_told_otherwise():
    nats = {}
    for how in (files.PLAIN, files.EIGHT):
        with files.opened("torch", "int8", how) as (denoise, found):
            nats[how] = sum(files.compared(denoise, 6)["kl"])
    assert nats[files.EIGHT] < nats[files.PLAIN] / 2
    model = files.mini().model
    still = sum(p.numel() for name, p in model.named_parameters() if "norm" in name or "ln_f" in name or "wte" in name)
    assert found["bytes"] == 4 * still + sum(p.numel() for p in model.parameters()) - still


def test_changed_answers_are_counted_on_both_sides():
    base = {"runtime": "ours", "kind": "F32", "how": files.PLAIN, "correct": "0000111"}
    row = base | {"kind": "Q8_0", "correct": "1111111"}
    assert files.changed([base, row], row) == (4, 0, 0.125) and files.changed([base, row], base) == (0, 0, 1.0)
    assert files.changed([base], base | {"correct": "100"})[:2] == (1, 0)


def test_half_of_an_answer_is_masked():
    (ids, hidden), *_ = files.half_masked(0, 2)
    mask = files.mini().tokenizer.mask_token_id
    assert torch.equal(ids[0] == mask, hidden) and int(hidden.sum()) > 0


def test_every_way_and_every_runtime_has_its_rows():
    assert len(linear.settings()) == len(linear.WHERE) * len(linear.WAYS)
    assert {row["runtime"] for row in runtimes.settings()} <= {row["runtime"] for row in files.settings()}
    assert not [way for way in linear.KEPT if linear.WAYS[way].missing]
