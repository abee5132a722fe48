"""The speedrun: it stops at the goal, at the budget or at the time, and the leaderboard keeps one row a recipe."""

import json
import subprocess
import sys

import pytest

from dlmlab import cli
from dlmlab.course import manifest
from dlmlab.objective.batches import TrainConfig
from dlmlab.study import speedrun

MACHINE = {"processor": "x", "capability": "AVX2", "threads": 2}
TINY = dict(d_model=16, n_heads=2, n_layers=1, mlp_hidden_size=24, rows=4, compile=False, bf16=False, log_every=1)


def config(tokens=100_000, seed=3):
    return TrainConfig(name=f"tiny-{seed}", tokens=tokens, seed=seed, threads=1, **TINY)


def race(tmp_path, scores, **options):
    scores = iter(scores)
    options = {"minutes": 10, "every": 1, "say": lambda line: None} | options
    return speedrun.race(options.pop("config", config()), tmp_path, judge=lambda model: next(scores), **options)


def test_a_run_stops_at_the_goal(tmp_path):
    row = race(tmp_path, [0.1, 0.5, 0.92, 1.0])
    assert row["reached"] and row["exact_match"] == 0.92 and len(row["history"]) == 3
    assert row["tokens"] == row["history"][-1][0] > row["history"][0][0] and row["seconds"] > 0
    assert (row["recipe"], row["seed"], row["precision"]) == ("tiny", 3, "float32")
    assert ", float32" in speedrun.table([row])


def test_a_run_stops_at_its_token_budget_or_when_its_time_is_over(tmp_path):
    spent = race(tmp_path / "a", [0.0] * 50, config=config(tokens=1_000))
    assert not spent["reached"] and spent["tokens"] >= 1_000
    late = race(tmp_path / "b", [0.0] * 50, minutes=1e-9)
    assert len(late["history"]) == 1


def test_the_clock_stands_still_while_the_model_is_judged(tmp_path):
    import time

    def slow(model):
        time.sleep(0.3)
        return 1.0

    row = speedrun.race(config(), tmp_path, minutes=1, every=1, judge=slow, say=lambda line: None)
    assert row["seconds"] < row["history"][0][1] + 0.1
    again = race(tmp_path / "b", [0.0, 1.0])
    assert again["history"][0][1] <= again["history"][1][1]


TOGETHER = """
import json, os, sys
from pathlib import Path
from dlmlab import cli
from dlmlab.objective.batches import TrainConfig
from dlmlab.study import speedrun

scores = iter([0.2, 0.4, 0.95] if os.environ["RANK"] == "0" else [])  # the other one is not asked
config = TrainConfig(**json.loads(sys.argv[1]))
row = speedrun.race(config, Path(sys.argv[2]), minutes=10, every=1, judge=lambda model: next(scores), say=print)
(Path(sys.argv[2]) / f"row-{os.environ['RANK']}").write_text(json.dumps(row), encoding="utf-8")
cli._leave()
"""


def test_two_processes_race_as_one_and_the_first_one_judges(tmp_path):
    (tmp_path / "race.py").write_text(TOGETHER, encoding="utf-8")
    recipe = json.dumps({"name": "tiny-3", "tokens": 100_000, "seed": 3, "threads": 2} | TINY)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, str(tmp_path / "race.py"), recipe, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("exact match") == 3  # said once a judgement
    rows = [json.loads((tmp_path / f"row-{i}").read_text(encoding="utf-8")) for i in range(2)]
    assert rows[0] == rows[1] and rows[0]["exact_match"] == 0.95 and len(rows[0]["history"]) == 3
    assert rows[0]["processes"] == 2 and rows[0]["machine"]["threads"] == 1
    assert "2 processes of one thread" in speedrun.table(rows[:1])


def test_one_row_for_a_recipe_seed_and_machine_the_fastest_first(tmp_path):
    path = tmp_path / "board.json"
    row = {"recipe": "a", "seed": 0, "machine": MACHINE, "reached": True, "seconds": 60.0}
    speedrun.enter(row, path)
    speedrun.enter(row | {"seconds": 50.0}, path)
    speedrun.enter(row | {"recipe": "b", "seconds": 20.0}, path)
    speedrun.enter(row | {"recipe": "c", "seconds": 1.0, "reached": False, "exact_match": 0.3}, path)
    rows = speedrun.enter(row | {"recipe": "d", "seconds": 9.0, "reached": False, "exact_match": 0.6}, path)
    assert [r["recipe"] for r in rows] == ["b", "a", "d", "c"] and rows[1]["seconds"] == 50.0


def test_the_table_shows_what_was_run_and_nothing_else():
    row = {"recipe": "adamw", "seed": 0, "reached": False, "exact_match": 0.5, "tokens": 10, "machine": MACHINE}
    text = speedrun.table([row | {"seconds": 60.0, "tokens_per_second": 1}])
    assert "(goal missed)" in text and len(text.splitlines()) == 2 and "not run" not in text


def test_pages_quote_a_run_at_the_tokens_of_the_shortest_recipes():
    row = {"recipe": "a", "seed": 1, "exact_match": 0.9, "seconds": 90.0}
    row["history"] = [[2_000_000, 20.0, 0.1], [4_000_100, 40.0, 0.4], [4_800_000, 50.0, 0.9]]
    assert speedrun.headlines([row]) == {"a 1 exact match": 0.9, "a 1 minutes": 1.5, "a 1 exact match at 4 M": 0.4}


def test_every_recipe_is_a_diffusion_model_of_the_same_size():
    assert {"baseline", "suffix-early", "adamw"} <= set(speedrun.recipes())
    sizes = set()
    for name in speedrun.recipes():
        found = speedrun.recipe(name, seed=5)
        assert found.seed == 5 and found.name == f"{name}-5" and found.attention == "full"
        sizes.add((found.d_model, found.n_layers, found.mlp_hidden_size, found.n_heads))
    assert len(sizes) == 1
    assert manifest.how("speedrun/baseline.toml") == "written by hand"


def test_mistakes_name_what_is_allowed(tmp_path, capsys):
    assert cli.main(["speedrun", "--recipe", "luck"]) == 2
    complaint = capsys.readouterr().err
    assert "'luck'" in complaint and "'adamw', 'baseline'" in complaint
    with pytest.raises(ValueError, match="every=3 a multiple of log_every=20"):
        speedrun.race(TrainConfig(name="x-0"), tmp_path, minutes=1, every=3)
    with pytest.raises(ValueError, match="minutes=0 must be > 0"):
        speedrun.race(TrainConfig(name="x-0"), tmp_path, minutes=0)
