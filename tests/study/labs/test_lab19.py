"""What the tables of lab 19 read off their rows."""

import numpy as np
import pytest
import torch

from dlmlab.measure.evaluate import digits
from dlmlab.study.labs import lab19_planted as planted
from dlmlab.study.labs import lab19_refusals as refusals
from dlmlab.task import layout, tasks

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
    closed, at = planted.planted(PROBLEM, "last", 7)
    opened, same = planted.planted(PROBLEM, "open", 7)
    assert at == same and torch.equal(opened[: at + 1], closed[: at + 1]) and bool((opened[at + 1 :] == mask).all())


def test_a_finished_answer_is_asked_again_without_its_number_or_without_the_equation_before_it():
    tokenizer = planted.checkpoint("llada-mini").tokenizer
    ids = torch.tensor(layout.encode_solution(tokenizer, PROBLEM))  # two equations
    given, at = planted.planted(PROBLEM, "last", 7)
    answer = given.clone()
    answer[:at] = ids[:at]
    asked = [window[0] for window in planted.hidden(answer[None], given[None], torch.tensor([at]), "last", -1)]
    left = [tokenizer.decode(window[window >= 0]).split() for window in asked]
    first, marks = tokenizer.decode(ids[:6]).split(), left[0][at:]  # the first equation; end marks
    assert left[0] == [*tokenizer.decode(ids[:at]).split(), *marks]
    assert left[2] == [*first, ";", "####", *marks]
    assert torch.equal(asked[1][:at], given[:at]) and int(asked[1][at]) == -1
    assert len(planted.hidden(answer[None], given[None], torch.tensor([4]), "first", -1)) == 2


def numbers(offset, values):
    n = len(planted.asked(planted.PROBLEMS, "last", offset))
    return {"decoder": "x", "place": "last", "offset": offset, "blind": (values * n)[:n]}


def test_noticing_is_an_area_and_its_interval_knows_both_sides():
    rows = [numbers(0, [0.6, 0.7]), numbers(7, [0.1]), numbers(1, [0.6, 0.7])]
    always, never = (planted.noticed(rows, "x", "last", offset, "blind") for offset in (7, 1))
    assert always.mean == 1 and always.low < 1
    assert never.mean == pytest.approx(0.5, abs=0.02) and never.low < 0.49 < 0.51 < never.high
    few = planted.noticed(rows, "x", "last", 1, "blind", least=3)
    assert few.high - few.low > never.high - never.low


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
    told = {"told form": "1" * n, "ends form": "2" * n}
    return {"outcome form": answered * n, "score form": p, "validation form": [0.2] * 20} | told | key


def test_an_alarm_turns_an_answer_into_a_refusal():
    half = len(refusals.questions()) // 2
    found = row("0", [0.9] * half + [0.1] * half)
    assert refusals.flags(found, "form")["answered"].sum() == 2 * half
    assert np.array_equal(refusals.flags(found, "form", "form")["refused"].astype(bool), refusals.group("forbidden"))


def test_other_is_told_or_cut_and_a_refusal_is_neither():
    n = len(refusals.questions())
    found = refusals.flags(row("2", [0.1] * n), "form")
    assert found["told"].all() and found["cut"].all() and found["other"].all()
    for kind in ("0", "1"):
        found = refusals.flags(row(kind, [0.1] * n), "form")
        assert not found["cut"].any() and found["told"].all() == (kind == "0")
    assert not refusals.flags(row("2", [0.9] * n), "form", "form")["told"].any()


def test_the_stored_alarms_are_those_of_the_stored_scores():
    for found in refusals.TABLE.rows():
        for name in refusals.templates_of(found["arm"]):
            alarm = refusals.raised(found[f"score {name}"], found[f"validation {name}"], refusals.AT_MOST)
            assert digits(alarm.tolist()) == found[f"alarm {name}"]


def test_groups_part_the_questions():
    a, b, c = (refusals.group(kind) for kind in ("allowed", "shown", "never shown"))
    assert ((a.astype(int) + b + c) == 1).all() and np.array_equal(refusals.group("forbidden"), b | c)


def test_a_share_has_an_interval_and_a_comparison_its_sign():
    n = len(refusals.questions())
    rows = [
        {"arm": a, "seed": s, "outcome form": {"x": ("01" * n)[s : n + s], "y": "1" * n}[a]}
        | dict.fromkeys(("told form", "ends form"), "0" * n)
        for a in "xy"
        for s in (0, 1)
    ]
    found = refusals.share(rows, "x", "answered", "forbidden", "form")
    assert found.mean == pytest.approx(50, abs=2) and found.low < 45 < 55 < found.high
    assert refusals.against(rows, "x", "y", "answered", "forbidden", "form").mean == pytest.approx(found.mean)
