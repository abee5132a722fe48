"""A study is seeded, goes on where it was killed, and is shared by processes."""

import subprocess
import sys
import time

import pytest

from dlmlab.compress.joint import trials

SPACE = {"a": ["x", "y", "z"], "b": ["u", "v", "w"], "c": ["1", "2", "3"]}
VALUE = {"x": 0, "y": 1, "z": 2, "u": 2, "v": 0, "w": 1, "1": 1, "2": 0, "3": 5}


def evaluate(values: dict[str, str]) -> tuple[float, float]:
    found = sum(VALUE[v] for v in values.values())
    return float(found), float(9 - found)


def test_a_seed_gives_the_same_trials_and_another_seed_others():
    one, two, other = (trials.run(SPACE, evaluate, trials=25, seed=seed) for seed in (0, 0, 1))
    assert one == two != other
    assert [t.number for t in one] == list(range(25)) and one[3].objectives == evaluate(one[3].values)


def test_it_finds_better_choices_than_chance():
    space = {f"p{i}": [str(k) for k in range(8)] for i in range(6)}
    found = trials.run(space, lambda v: [sum(map(int, v.values()))], trials=90, objectives=1)
    first, last = (min(t.objectives[0] for t in part) for part in (found[:16], found[16:]))
    assert last < first - 5


def test_a_stopped_search_goes_on_and_asks_for_what_it_would_have_asked(tmp_path):
    whole = trials.run(SPACE, evaluate, trials=24, seed=3, startup=8)
    place = {"storage": f"sqlite:///{tmp_path}/study.db", "seed": 3, "startup": 8}
    assert trials.run(SPACE, evaluate, trials=10, **place) == whole[:10]
    assert trials.run(SPACE, evaluate, trials=24, **place) == whole
    assert trials.run(SPACE, lambda v: 1 / 0, trials=24, **place) == whole  # nothing is left to ask


def test_a_killed_trial_counts_as_nothing(tmp_path):
    place = {"storage": f"sqlite:///{tmp_path}/study.db"}
    with pytest.raises(KeyboardInterrupt):
        trials.run(SPACE, killed_at(5), trials=9, **place)
    found = trials.run(SPACE, evaluate, trials=9, **place)
    assert len(found) == 9 and [t.number for t in found] == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def killed_at(count: int):
    asked = []

    def ask(values):
        asked.append(values)
        if len(asked) > count:
            raise KeyboardInterrupt
        return evaluate(values)

    return ask


WORKER = """
import sys, time
from dlmlab.compress.joint import trials
from tests.compress.joint.test_trials import SPACE, evaluate
def slow(values):
    time.sleep(0.05)
    return evaluate(values)
print(len(trials.run(SPACE, slow, trials=int(sys.argv[2]), storage=sys.argv[1], seed=0)))
"""


def worker(tmp_path, count: int) -> subprocess.Popen:
    command = [sys.executable, "-c", WORKER, f"sqlite:///{tmp_path}/study.db", str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_share_one_study_and_one_is_killed_on_the_way(tmp_path):
    workers = [worker(tmp_path, 40) for _ in range(2)]
    place = f"sqlite:///{tmp_path}/study.db"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and _count(place) < 10:
        time.sleep(0.2)
    workers[0].kill()
    outs = [w.communicate(timeout=120) for w in workers]
    assert workers[1].returncode == 0, outs[1][1]
    found = trials.run(SPACE, evaluate, trials=40, storage=place)
    assert 40 <= len(found) <= 41 and len({t.number for t in found}) == len(found)


def _count(place: str) -> int:
    try:
        return len(trials.finished(trials._open("joint", place, 2)))
    except ValueError:
        return 0


def test_the_first_choices_are_asked_first_and_once(tmp_path):
    first = [{"a": "z", "b": "u", "c": "3"}, {"a": "x", "b": "v", "c": "2"}]
    place = {"storage": f"sqlite:///{tmp_path}/study.db", "first": first, "seed": 1}
    assert [t.values for t in trials.run(SPACE, evaluate, trials=3, **place)][:2] == first
    assert [t.values for t in trials.run(SPACE, evaluate, trials=6, **place)].count(first[0]) == 1


def test_workers_agree_on_what_the_first_one_made(tmp_path):
    place = {"storage": f"sqlite:///{tmp_path}/study.db"}
    assert trials.shared("table", lambda: {"ms": 1.5}, **place) == {"ms": 1.5}
    assert trials.shared("table", lambda: {"ms": 9.9}, **place) == {"ms": 1.5}
    assert trials.shared("table", lambda: {"ms": 9.9}) == {"ms": 9.9}


def test_another_space_and_a_place_that_cannot_be_are_refused(tmp_path):
    place = {"storage": f"sqlite:///{tmp_path}/study.db"}
    trials.run(SPACE, evaluate, trials=1, **place)
    with pytest.raises(ValueError, match="of another space"):
        trials.run(SPACE | {"d": ["1"]}, evaluate, trials=1, **place)
    with pytest.raises(ValueError, match="cannot be used"):
        trials.run(SPACE, evaluate, trials=1, storage="nonsense")
    with pytest.raises(ValueError, match="trials=0"):
        trials.run(SPACE, evaluate, trials=0)
