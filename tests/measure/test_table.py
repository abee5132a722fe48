"""A stored table is a promise: every setting has its row, and the code still gives it."""

import math

import pytest

from dlmlab.measure import store
from dlmlab.measure.table import Table, distance

SETTINGS = [{"name": name, "seed": seed} for seed in (0, 1) for name in ("a", "b")]
QUIET = {"say": lambda line: None}


def made(**changes) -> Table:
    def run(name: str, seed: int, size: int | None = None) -> dict:
        return {"correct": "1101101101"[:size], "nats": [1.0, 2.0 + seed, 3.0][:size], "count": 7}

    return Table(
        **{"name": "00_x", "settings": lambda: SETTINGS, "run": run, "live": SETTINGS[:1], "size": 2} | changes
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "RESULTS", tmp_path)
    return tmp_path


def test_a_measured_table_holds_every_setting_and_repeats_itself(folder):
    made().measure(**QUIET)
    assert [(row["name"], row["seed"]) for row in made().rows()] == [(k["name"], k["seed"]) for k in SETTINGS]
    assert all(made().repeat(key) == 0 and made().repeats(key, **QUIET) for key in SETTINGS)


def test_a_missing_table_and_a_missing_setting_are_refused(folder):
    with pytest.raises(ValueError, match=r"00_x holds 0 rows with .*'a'.* `python -m dlmlab measure 00_x`"):
        made().rows()
    made(settings=lambda: SETTINGS[:3]).measure(**QUIET)
    with pytest.raises(ValueError, match="holds 0 rows with .*'b', 'seed': 1"):
        made().rows()


def test_a_row_twice_and_a_row_of_older_code_are_refused(folder):
    made().measure(**QUIET)
    rows = store.read("00_x")
    store.write(folder / "00_x.json", [*rows, rows[0]])
    with pytest.raises(ValueError, match="holds 2 rows"):
        made().rows()
    store.write(folder / "00_x.json", [*rows, {"name": "old", "seed": 0}])
    with pytest.raises(ValueError, match="5 rows for 4 settings"):
        made().rows()


def test_what_is_stored_is_not_measured_again_and_a_stop_loses_nothing(folder):
    ran = []

    def run(name: str, seed: int) -> dict:
        ran.append((name, seed))
        if len(ran) == 3:
            raise RuntimeError("stopped")
        return {"value": seed}

    with pytest.raises(RuntimeError, match="stopped"):
        made(run=run).measure(**QUIET)
    assert len(store.read("00_x")) == 2
    made(run=run).measure(**QUIET)
    assert ran == [("a", 0), ("b", 0), ("a", 1), ("a", 1), ("b", 1)] and len(made().rows()) == 4


@pytest.mark.parametrize(
    "fault",
    [{"nats": [1.0, 2.1]}, {"correct": "10"}, {"count": 8}, {"nats": [1.0, math.nan]}, {"count": None}],
)
def test_a_repeated_row_that_is_off_is_found(folder, fault):
    made().measure(**QUIET)
    said = []
    assert not made(run=lambda name, seed, size: fault).repeats(SETTINGS[0], said.append)
    assert "NOT as stored" in said[0] and "name=a seed=0" in said[0]


def test_a_repetition_that_measures_nothing_of_the_table_is_refused(folder):
    made().measure(**QUIET)
    for nothing in ({}, {"other": 1.0}):
        with pytest.raises(ValueError, match="measures no column"):
            made(run=lambda name, seed, size, found=nothing: found).repeat(SETTINGS[0])
    with pytest.raises(ValueError, match="no row with"):
        made().repeat({"name": "c", "seed": 0})


def test_a_tolerance_belongs_to_its_column(folder):
    made().measure(**QUIET)
    off = made(run=lambda **key: {"nats": [1.3]})
    assert off.repeat(SETTINGS[0]) == pytest.approx(15)  # 0.3 of 2 %
    assert made(run=off.run, tolerance={"nats": (0.1, 0.5)}).repeat(SETTINGS[0]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "stored, again, expected",
    [
        (2.0, 2.02, 0.5),
        (2, 2.0, 0.0),
        (0.0, 0.001, math.inf),  # 2 % of nothing
        (math.nan, math.nan, 0.0),
        (1.0, math.nan, math.inf),
        ([[1, 2.0], [2, 4.0]], [[1, 2.0]], 0.0),
        ([[1, 2.0], [2, 4.0]], [[1, 2.04]], 1.0),
        ({"a": 1.0, "b": [1.0]}, {"b": [1.02]}, 1.0),
        ("1" * 10, "1" * 9 + "0", 1.0),
        ("1" * 20, "1" * 8 + "00", 2.0),
        (["x", "y", "z", "w"], ["x", "v"], 5.0),
        ("prompt", "prompt", 0.0),
        ("prompt", "answer", math.inf),
        (True, False, math.inf),
        (None, None, 0.0),
    ],
)
def test_distance_is_in_units_of_what_is_allowed(stored, again, expected):
    assert distance(stored, again) == pytest.approx(expected)
