"""The leaderboard: an entry is measured, not believed; its opponent spends no more; a win is a shown difference."""

import json
from dataclasses import replace

import pytest

from dlmlab.compress.joint import winner
from dlmlab.compress.joint.assembly import Assembly, Calibration
from dlmlab.compress.joint.footprint import weigh_model
from dlmlab.compress.joint.options import Option
from dlmlab.compress.joint.steps import Decoding
from dlmlab.study import leaderboard

ROWS = [
    {"name": "small", "bytes": 100, "nfe": 3.0, "correct": "1" * 60 + "0" * 40},
    {"name": "slow", "bytes": 100, "nfe": 40.0, "correct": "1" * 95 + "0" * 5},
    {"name": "large", "bytes": 900, "nfe": 3.0, "correct": "1" * 90 + "0" * 10},
]


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    """Write an entry: one block in four bits, the others dense."""
    calibration = Calibration(texts=4)
    places = {"blocks.3": Option(4, 64)}
    assembly = Assembly.of("llada-mini", calibration)
    digest = winner.digest(assembly.model(places))
    path = tmp_path_factory.mktemp("entry") / "mine.json"
    winner.write(winner.Winner("llada-mini", calibration, places, Decoding(0.9), digest), path)
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"name": "mine", "by": "me"}), encoding="utf-8"
    )
    return path, weigh_model(assembly.model(places, packed=True)).bytes


def test_an_entry_is_rebuilt_and_measured(entry, monkeypatch):
    path, size = entry
    found = leaderboard.verify(path, rows=[], problems=6)
    assert (found.name, found.by, found.bytes, found.same) == ("mine", "me", size, True)
    assert len(found.correct) == 6 and 1 <= found.forwards <= 40
    assert found.gain is None and "new ground" in found.verdict and f"{size:,}" in str(found)


def test_claimed_numbers_and_digests_are_not_believed(entry, tmp_path):
    path, size = entry
    lie = json.loads(path.read_text(encoding="utf-8")) | {"digest": "0" * 64, "cost": {"bytes": 1}}
    (tmp_path / "lie.json").write_text(json.dumps(lie), encoding="utf-8")
    found = leaderboard.verify(tmp_path / "lie.json", rows=[], problems=2)
    assert found.bytes == size and not found.same and "others than in the file" in str(found)


@pytest.mark.parametrize("change, message", [({"model": "llama-mini"}, "ask for llada-mini"), ({"by": " "}, "its by")])
def test_what_the_rules_exclude_is_refused_before_the_work(entry, tmp_path, change, message):
    (tmp_path / "no.json").write_text(
        json.dumps(json.loads(entry[0].read_text(encoding="utf-8")) | change), encoding="utf-8"
    )
    with pytest.raises(ValueError, match=message):
        leaderboard.verify(tmp_path / "no.json", rows=[])


def test_an_opponent_takes_no_more_bytes_and_no_more_forwards():
    def name(size, forwards):
        return (leaderboard.opponent(ROWS, size, forwards) or {}).get("name")

    assert name(500, 10.0) == "small" and name(500, 40.0) == "slow" and name(900, 3.0) == "large"
    assert name(99, 40.0) is None and name(900, 2.9) is None


def test_a_win_is_a_difference_that_is_shown():
    verified = leaderboard.Verified("mine", "me", 100, "1" * 61 + "0" * 39, 3.0, True, ROWS[0])
    assert verified.verdict.startswith("does not beat the front") and "no difference shown" in verified.verdict
    better = replace(verified, correct="1" * 80 + "0" * 20)
    assert better.verdict.startswith("beats the front: +20.0") and "small" in better.verdict


def test_the_board_holds_one_row_an_author_and_name(tmp_path):
    verified, board = leaderboard.Verified("mine", "me", 500, "110", 3.0, True, None), tmp_path / "board.json"
    leaderboard.enter(verified, board)
    leaderboard.enter(replace(verified, by="you", bytes=400), board)
    rows = leaderboard.enter(replace(verified, correct="111"), board)
    assert [(row["by"], row["bytes"], row["correct"]) for row in rows] == [("you", 400, "110"), ("me", 500, "111")]
    assert leaderboard.read(board) == rows and json.loads(board.read_text(encoding="utf-8"))["rules"] == [
        *leaderboard.RULES
    ]
    with pytest.raises(ValueError, match="not entered: does not beat"):
        leaderboard.enter(replace(verified, against=ROWS[1] | {"correct": "111"}), board)
    shown = leaderboard.table(rows)
    assert "1. The model is made from llada-mini" in shown and "100.0%" in shown
    assert "no entry yet" in leaderboard.table([])


def test_the_front_holds_every_tested_row_of_the_model_and_the_entries(tmp_path, monkeypatch):
    tested = [
        {"model": "llada-mini", "method": "greedy", "decoding": "threshold 0.9", "seed": 1} | ROWS[0],
        {"model": "llama-mini", "method": "2 bits", "decoding": "left to right", "seed": 0} | ROWS[1],
    ]
    monkeypatch.setattr(leaderboard.nb06_front, "everything", lambda: tested)
    leaderboard.enter(leaderboard.Verified("mine", "me", 500, "110", 3.0, True, None), tmp_path / "board.json")
    names = [row["name"] for row in leaderboard.front(tmp_path / "board.json")]
    assert names == ["greedy, threshold 0.9, seed 1", "mine"]
