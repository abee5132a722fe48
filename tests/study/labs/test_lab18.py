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


def test_the_control_says_something_else_and_the_file_in_float32_the_same():
    with files.opened("ours", "F32") as (denoise, found):
        same = files.compared(denoise, 3)
    with files.opened("ours", "F32", files.RAW) as (denoise, _):
        other = files.compared(denoise, 3)
    assert same["alike"] == same["places"] and max(same["kl"]) < 1e-6 and found["kinds"] == {"F32": 57}
    assert other["alike"] < other["places"] and max(other["kl"]) > 0.1


def test_half_of_an_answer_is_masked():
    (ids, hidden), *_ = files.half_masked(0, 2)
    mask = files.mini().tokenizer.mask_token_id
    assert torch.equal(ids[0] == mask, hidden) and int(hidden.sum()) > 0


def test_every_way_and_every_runtime_has_its_rows():
    assert len(linear.settings()) == len(linear.WHERE) * len(linear.WAYS)
    assert {row["runtime"] for row in runtimes.settings()} <= {row["runtime"] for row in files.settings()}
    assert not [way for way in linear.KEPT if linear.WAYS[way].missing]
