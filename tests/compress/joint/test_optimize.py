"""The whole search on a tiny model: no test problem is read, a budget holds, a stopped search goes on."""

import pytest

from dlmlab.compress.joint import optimize
from dlmlab.compress.joint.budget import Budget
from dlmlab.compress.joint.latency import Latency
from dlmlab.compress.joint.optimize import Search, best, describe, front_of, shapes_of
from dlmlab.compress.joint.steps import Decoding
from dlmlab.compress.joint.validation import Validation
from dlmlab.task import tasks
from tests.compress.joint.cases import OPTIONS, reading_assembly
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
DECODINGS = (Decoding(0.9), Decoding(steps=2))


def search() -> Search:
    assembly = reading_assembly()
    blocks = {shape: 1.0 + shape[0] + shape[1] / 10 for shape in shapes_of(assembly, OPTIONS)}
    return Search(assembly, Validation(3, 1), Latency(4, 80, 1.0, blocks, {}), OPTIONS, DECODINGS)


def test_no_test_problem_is_read_during_a_search(monkeypatch):
    read, load_split = [], tasks.load_split
    monkeypatch.setattr(tasks, "load_split", lambda split: read.append(split) or load_split(split))
    found = search().run(Budget(), trials_=12)
    assert set(read) == {"validation"}
    assert len(found) >= 12 and {c.decoding for c in found} == set(DECODINGS)


def test_everything_returned_is_within_the_budget():
    middle = search().weigh(dict.fromkeys(search().assembly.places, OPTIONS[2]), 2.0)["bytes"]
    found = search().run(Budget(bytes=middle), trials_=14)
    assert found and all(c.cost["bytes"] <= middle and not c.dense for c in found)
    assert best(found).wrong == min(c.wrong for c in found)
    front = front_of(found)
    assert [c.cost["bytes"] for c in front] == sorted(c.cost["bytes"] for c in front)


def test_a_budget_that_nothing_meets_is_told_before_any_trial(monkeypatch):
    monkeypatch.setattr(optimize.trials, "run", lambda *a, **k: pytest.fail("searched"))
    for budget, words in (
        (Budget(bytes=100), "at most 100 bytes is impossible.* bytes more"),
        (Budget(ms=1e-6), "ms a problem is impossible"),
        (Budget(forwards=1), "at most 1 forwards is impossible: .* 2 forwards, 1 forwards more"),
    ):
        with pytest.raises(ValueError, match=words):
            search().run(budget, trials_=3)


def test_a_stopped_search_goes_on(tmp_path):
    place = {"storage": f"sqlite:///{tmp_path}/study.db"}
    whole = search().run(Budget(), trials_=10)
    search().run(Budget(), trials_=4, **place)
    again = search().run(Budget(), trials_=10, **place)
    assert [c.objectives for c in again] == [pytest.approx(c.objectives) for c in whole]


def test_what_is_known_to_be_too_large_is_not_evaluated(monkeypatch):
    asked = []
    measure = Search.measure
    monkeypatch.setattr(Search, "measure", lambda self, c, d: asked.append(c) or measure(self, c, d))
    limit = search().weigh(dict.fromkeys(search().assembly.places, OPTIONS[3]), 1.0)["bytes"]
    search().run(Budget(bytes=limit), trials_=12)
    sizes = [search().weigh(c, 1.0)["bytes"] for c in asked[len(DECODINGS) :]]
    assert sizes and max(sizes) <= limit


def test_a_line_says_what_became_of_the_blocks():
    found = search().measure({"blocks.0": OPTIONS[2], "blocks.1": OPTIONS[2]}, DECODINGS[1])
    line = describe(found)
    assert "2 x 4 bits" in line and "2 forwards" in line and not found.dense
