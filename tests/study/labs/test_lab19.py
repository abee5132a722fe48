"""What the tables of lab 19 read off their rows."""

import numpy as np
import pytest

from dlmlab.study.labs import lab19_planted as planted
from dlmlab.study.labs import lab19_refusals as refusals
from dlmlab.task import tasks

PROBLEM = next(p for p in tasks.load_split("test") if p.steps == 2)


def test_a_planted_number_stands_at_its_place_with_masks_before_or_after():
    mask = planted.checkpoint("llada-mini").tokenizer.mask_token_id
    for place, open_first in (("last", True), ("first", False)):
        window, at = planted.planted(PROBLEM, place, 7)
        token = planted.checkpoint("llada-mini").tokenizer.convert_ids_to_tokens(int(window[at]))
        assert int(token) == planted.true_number(PROBLEM, place) + 7
        assert (
            bool((window[: at - 1] == mask).all()) == open_first
            and bool((window[at + 1 :] == mask).any()) != open_first
        )


def test_bent_means_that_the_last_equation_ends_in_the_planted_number_and_is_wrong():
    q = "ann buys 12 apples . then ann takes 5 more . then ann takes 3 more . how many apples does ann have now ?"
    problem = tasks.Problem(q, tasks.solve(q).text, 20, 2, "shopping", False, "")
    assert planted.judge(problem, "last", 7, "12 + 5 = 17 ; 17 + 3 = 27 ; #### 27")["bent"]
    assert not planted.judge(problem, "last", 7, "12 + 5 = 17 ; 17 + 3 = 20 ; #### 27")["bent"]
    assert not planted.judge(problem, "last", 0, "12 + 5 = 17 ; 17 + 3 = 20 ; #### 20")["bent"]
    found = planted.judge(problem, "first", 7, "12 + 5 = 24 ; 24 + 3 = 27 ; #### 27")
    assert found["built"] and not found["first right"] and not found["true"]
    assert not planted.judge(problem, "first", 7, "12 + 5 = 24 ; 17 + 3 = 20 ; #### 20")["built"]


def row(answered, p, **key):
    n = len(refusals.questions())
    return {"outcome form": answered * n, "p form": p, "validation form": [0.2] * 20} | key


def test_an_alarm_turns_an_answer_into_a_refusal():
    half = len(refusals.questions()) // 2
    found = row("0", [0.9] * half + [0.1] * half)
    assert refusals.flags(found, "form")["answered"].sum() == 2 * half
    assert np.array_equal(refusals.flags(found, "form", "form")["refused"].astype(bool), refusals.group("forbidden"))


def test_groups_part_the_questions():
    a, b, c = (refusals.group(kind) for kind in ("allowed", "shown", "never shown"))
    assert ((a.astype(int) + b + c) == 1).all() and np.array_equal(refusals.group("forbidden"), b | c)


def test_a_share_has_an_interval_and_a_comparison_its_sign():
    n = len(refusals.questions())
    rows = [
        {"arm": a, "seed": s, "outcome form": {"x": ("01" * n)[s : n + s], "y": "1" * n}[a]}
        for a in "xy"
        for s in (0, 1)
    ]
    found = refusals.share(rows, "x", "answered", "forbidden", "form")
    assert found.mean == pytest.approx(50, abs=2) and found.low < 45 < 55 < found.high
    assert refusals.against(rows, "x", "y", "answered", "forbidden", "form").mean == pytest.approx(found.mean)
